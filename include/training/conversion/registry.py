"""Which function converts which class, and the walk through an estimator's steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple, NoReturn

from include.training.conversion.graph import Graph, Tensor

Method = Literal["transform", "predict", "predict_proba", "decision_function"]
Converter = Callable[["Conversion", Any, Tensor], Tensor]


_OTHERWISE: Final = (
    "Use other parameters or another step of docs/reference/estimators.md, or do its work in features.sql."
)


class _Registered(NamedTuple):
    """A converter, and what is said when it fails at a state of the step that it does not know."""

    convert: Converter
    failure: str
    advice: str


_CONVERTERS: Final[dict[tuple[str, Method], _Registered]] = {}


class UnconvertibleStepError(Exception):
    """A step has no faithful ONNX form.

    Parameters
    ----------
    step : str
        Its path from the outermost estimator, with its class.
    reason, advice : str
        Why, and what to use instead.
    """

    def __init__(self, step: str, reason: str, advice: str) -> None:
        super().__init__(f"{step}: {reason}. {advice}")
        self.step, self.reason, self.advice = step, reason, advice


def converts(
    *classes: str,
    method: Method,
    failure: str = "its converter fails",
    advice: str = _OTHERWISE,
) -> Callable[[Converter], Converter]:
    """Register a function as the converter of a method of some classes.

    Parameters
    ----------
    classes : str
        ``package.Class``. By name, so that nothing is imported that the estimator does not use.
    failure, advice : str
        Why the step is refused when the function raises an error, and what to do then.
    """

    def register(function: Converter) -> Converter:
        registered = _Registered(function, failure, advice)
        _CONVERTERS.update(dict.fromkeys(((each, method) for each in classes), registered))
        return function

    return register


def _converter_of(estimator: Any, method: Method) -> _Registered | None:
    """Return the converter of the estimator's class, or of a class whose method it inherits unchanged."""
    own = inspect.getattr_static(type(estimator), method, None)
    for cls in type(estimator).__mro__:
        if inspect.getattr_static(cls, method, None) is not own:
            return None
        found = _CONVERTERS.get((f"{cls.__module__.partition('.')[0]}.{cls.__name__}", method))
        if found is not None:
            return found
    return None


class Conversion:
    """Converts an estimator step by step into one graph, and knows which step it is at.

    A step is converted by the function that is registered for its class; otherwise by skl2onnx, alone.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._path: list[str] = []

    def transform(self, step: Any, x: Tensor, name: str = "") -> Tensor:
        """Add what ``step.transform`` does."""
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return x
        return self._convert(step, "transform", x, name)

    def predict(self, step: Any, x: Tensor, name: str = "") -> Tensor:
        """Add what ``step.predict`` of a regressor does; shape (n, 1)."""
        return self._convert(step, "predict", x, name)

    def predict_proba(self, step: Any, x: Tensor, name: str = "") -> Tensor:
        """Add what ``step.predict_proba`` does; shape (n, n_classes)."""
        return self._convert(step, "predict_proba", x, name)

    def decision_function(self, step: Any, x: Tensor, name: str = "") -> Tensor:
        """Add what ``step.decision_function`` does; shape (n, 1) for two classes, else (n, n_classes)."""
        return self._convert(step, "decision_function", x, name)

    def refuse(self, reason: str, advice: str) -> NoReturn:
        """Refuse the present step."""
        raise UnconvertibleStepError(self.path, reason, advice)

    @property
    def path(self) -> str:
        """Where in the estimator the conversion is."""
        *outer, last = self._path
        return ".".join([*(each.partition(" ")[0] for each in outer if " " in each), last])

    @contextmanager
    def _at(self, step: Any, name: str) -> Iterator[None]:
        kind = type(step).__name__
        self._path.append(f"{name} ({kind})" if name else kind)
        yield  # an error keeps the path of the step at which it was raised
        self._path.pop()

    def _convert(self, step: Any, method: Method, x: Tensor, name: str) -> Tensor:
        with self._at(step, name):
            own = _converter_of(step, method)
            if own is not None:
                begun = len(self.graph.nodes)
                found = self._by(own, step, x)
                self._require_exact_thresholds(begun)
                return found
            from include.training.conversion.skl2onnx_steps import convert_by_skl2onnx

            return convert_by_skl2onnx(self, step, method, x)

    def _by(self, converter: _Registered, step: Any, x: Tensor) -> Tensor:
        try:
            return converter.convert(self, step, x)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A state of the step that its converter does not know: a step that cannot be served, not a traceback.
            self.refuse(
                f"{converter.failure} ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]})",
                converter.advice,
            )

    def _require_exact_thresholds(self, begun: int) -> None:
        """Refuse trees whose input scikit-learn rounds in another order: a threshold would decide otherwise."""
        inputs = {node.input[0] for node in self.graph.nodes[begun:] if node.op_type == "TreeEnsemble"}
        reason = (
            "its thresholds are compared with what an earlier step computes by sums, powers or logarithms in {}, whose "
            "last bits are not reproducible"
        )
        if inputs & self.graph.inexact["float32"]:
            self.refuse(
                reason.format("single precision"),
                "Let that step compute in double, and round its result: put FunctionTransformer(np.float64) before it "
                "and FunctionTransformer(np.float32) after it.",
            )
        if inputs & self.graph.inexact["float64"]:
            self.refuse(
                reason.format("double precision"),
                "Round the result of that step: put FunctionTransformer(np.float32) after it.",
            )
