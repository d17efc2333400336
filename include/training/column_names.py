"""Columns by name: a ColumnTransformer that reads the features may select them as it does in a notebook.

Estimators are fitted on a bare float32 matrix, since that is what converts exactly and what stays fast. So names are
replaced by positions before the fit, wherever a step is given the features as they are declared: at the start of a
pipeline, in unions, searches, votes, stacks and other meta-estimators. A step after another one is given its output,
whose columns have no names.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from include.errors import EstimatorError
from include.inference.feature_types import feature_type
from include.spec import Feature, ModelSpec
from include.training.data import TrainingData
from include.training.estimator import one_line, step_name

if TYPE_CHECKING:
    import pandas as pd

# Parameters whose estimator is given the same columns as the one that holds it.
_SAME_COLUMNS = frozenset({"estimator", "base_estimator", "classifier", "regressor"})
# These give their estimator a part of the columns, unknown before the fit.
_SELECTING = frozenset({"RFE", "RFECV", "SequentialFeatureSelector"})
_GRIDS = ("param_grid", "param_distributions")
# What a column of each kind may be in a DataFrame of the same rows. A selector by dtype takes a feature if it takes
# any of them, and leaves it out if it excludes any: text is `object` in most notebooks, `str` since pandas 3, and
# `category` where a library wants it.
_DTYPES: Mapping[str, tuple[str, ...]] = {
    "numeric": ("float32", "float64"),
    "categorical": ("object", "category", "str"),
    "boolean": ("bool", "boolean"),
}


def resolve_columns(spec: ModelSpec, estimator: Any, data: TrainingData) -> Any:
    """Replace names of features by their positions in an unfitted estimator.

    Parameters
    ----------
    estimator : estimator
        Not changed: when it has names, a copy is returned.

    Raises
    ------
    EstimatorError
        When a name is not a feature's, or its step is not given the features.
    """
    from sklearn.base import clone

    if not any(_may_name(part) for part in _parts(estimator)):
        return estimator
    copy = clone(estimator)
    _Resolver(spec).resolve(copy, _Input(data.signature.features, data.x_train), "")
    return copy


@dataclass(frozen=True)
class _Input:
    """What a step is given: some of the features, and their columns of the training rows."""

    features: tuple[Feature, ...]
    matrix: NDArray[np.float32]

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.features]

    def part(self, positions: NDArray[np.intp]) -> _Input:
        return _Input(tuple(self.features[at] for at in positions), self.matrix[:, positions])

    def frame(self, text: str) -> pd.DataFrame:
        """Return the rows as a DataFrame, with categories as strings of the dtype `text`."""
        import pandas as pd

        return pd.DataFrame(dict(zip(self.names, self._columns(text), strict=True)))

    def _columns(self, text: str) -> Iterator[Any]:
        import pandas as pd

        for at, feature in enumerate(self.features):
            kind = feature_type(feature)
            dtype = text if kind.has_text else kind.frame_type
            values = kind.decoded(self.matrix[:, at])
            yield values if dtype is None else pd.Series(values, dtype=dtype)

    @cached_property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return self.frame("object"), self.frame("category")


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and those within it, also those that a search may put there."""
    yield estimator
    for value in estimator.get_params(deep=True).values():
        if hasattr(value, "get_params"):
            yield value
    for part in [estimator, *estimator.get_params(deep=True).values()]:
        for _, choice in _choices(part):
            yield from _parts(choice)


def _may_name(part: Any) -> bool:
    return hasattr(part, "transformers") or _named_parameters(part) != {}


def _choices(search: Any) -> Iterator[tuple[str, Any]]:
    """Yield the estimators among the values that a search tries, each with the name of its parameter."""
    for name in _GRIDS:
        grid = getattr(search, name, None)
        for each in [grid] if isinstance(grid, Mapping) else grid or []:
            for key, values in each.items():
                if isinstance(values, Iterable) and not isinstance(values, str):
                    yield from ((key, value) for value in values if hasattr(value, "get_params"))


class _Resolver:
    """Walks through an estimator that may be changed; `given` has what each part is given, by its path."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._given: dict[str, _Input | None] = {}

    def resolve(self, part: Any, given: _Input | None, path: str) -> None:
        self._given[path] = given
        if not hasattr(part, "get_params"):
            return  # "passthrough", "drop" or None
        self._name_parameters(part, given, path)
        if hasattr(part, "transformers"):
            self._resolve_columns(part, given, path)
        elif hasattr(part, "steps"):
            for name, step in part.steps:
                self.resolve(step, given, _join(path, name))
                given = given if step is None or step == "passthrough" else None
        elif hasattr(part, "transformer_list"):
            for name, step in part.transformer_list:
                self.resolve(step, given, _join(path, name))
        else:
            self._resolve_parameters(part, given, path)

    def _resolve_parameters(self, part: Any, given: _Input | None, path: str) -> None:
        inner = None if _gives_a_part(part) else given
        for name, value in part.get_params(deep=False).items():
            if name == "estimators":
                for at, each in enumerate(value or []):
                    key, estimator = each if isinstance(each, tuple) else (f"estimators[{at}]", each)
                    self.resolve(estimator, inner, _join(path, key))
            elif hasattr(value, "get_params"):
                self.resolve(value, inner if name in _SAME_COLUMNS else None, _join(path, name))
        for name, choice in _choices(part):
            within = _join(path, "estimator")
            given_there = self._given.get(_join(within, name))
            self.resolve(choice, given_there, _join(within, name))

    def _resolve_columns(self, part: Any, given: _Input | None, path: str) -> None:
        step = step_name(path, part)
        resolved = []
        rest = set(range(0 if given is None else len(given.features)))
        for name, transformer, columns in part.transformers:
            positions = self._positions(columns, given, step)
            resolved.append((name, transformer, positions))
            inner = None
            if given is not None:
                taken = self._taken(positions, given, step)
                inner = given.part(taken)
                rest.difference_update(taken.tolist())
            self.resolve(transformer, inner, _join(path, name))
        part.transformers = resolved
        left = None if given is None else given.part(np.array(sorted(rest), dtype=np.intp))
        self.resolve(part.remainder, left, _join(path, "remainder"))

    def _positions(self, columns: Any, given: _Input | None, step: str) -> Any:
        """Return what ColumnTransformer is given in place of `columns`: positions in place of names."""
        if callable(columns):
            if given is None:
                if _is_selector(columns):
                    raise self._unnamed(step, "selects columns by name or dtype")
                return columns
            columns = self._called(columns, given, step)
        if isinstance(columns, slice):
            return self._sliced(columns, given, step)
        listed = [columns] if isinstance(columns, str) else columns
        if not isinstance(listed, list | tuple | np.ndarray) and not hasattr(listed, "tolist"):
            return columns
        names = [each for each in listed if isinstance(each, str)] if np.ndim(listed) == 1 else []
        if not names:
            return columns
        return [self._index(name, given, step) for name in listed]

    def _index(self, name: Any, given: _Input | None, step: str) -> int:
        if given is None:
            raise self._unnamed(step, f"names the column {name!r}")
        if name not in given.names:
            raise EstimatorError(
                self._spec.name,
                step,
                f"names the column {name!r}, which is not a feature that it is given",
                f"It is given: {', '.join(given.names)}.",
            )
        return given.names.index(name)

    def _sliced(self, columns: slice, given: _Input | None, step: str) -> slice:
        """Return the slice by positions; one by names includes its end, as in pandas."""
        start, stop = columns.start, columns.stop
        if isinstance(start, str):
            start = self._index(start, given, step)
        if isinstance(stop, str):
            stop = self._index(stop, given, step) + 1
        return slice(start, stop, columns.step)

    def _taken(self, positions: Any, given: _Input, step: str) -> NDArray[np.intp]:
        try:
            return np.atleast_1d(np.arange(len(given.features))[positions])
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(positions, list | tuple) and not len(positions):
                return np.empty(0, dtype=np.intp)
            raise EstimatorError(
                self._spec.name,
                step,
                f"selects columns that it is not given ({error})",
                f"It is given {len(given.features)}: {', '.join(given.names)}.",
            ) from error

    def _called(self, columns: Callable[[Any], Any], given: _Input, step: str) -> Any:
        if _is_selector(columns):
            return self._selected(columns, given, step)
        try:
            return columns(given.matrix)  # one that is written for the matrix
        except Exception:  # noqa: BLE001  # a function of the user's may raise anything
            return self._called_with_frames(columns, given, step)

    def _called_with_frames(self, columns: Callable[[Any], Any], given: _Input, step: str) -> Any:
        try:
            by_object, by_category = ([*map(_plain, _listed(columns(frame)))] for frame in given.frames)
        except Exception as error:
            raise EstimatorError(
                self._spec.name,
                step,
                f"selects columns by a function that fails: {one_line(error)}",
                "It is called with a DataFrame of the training rows. Correct it, or use columns.index(...).",
            ) from error
        if by_object == by_category:
            return by_object
        texts = {feature.name for feature in given.features if feature_type(feature).has_text}
        for one, other in ((by_object, by_category), (by_category, by_object)):
            if set(one) <= texts and not other:
                return one  # it takes text by its dtype, and is called with the right one once
        raise EstimatorError(
            self._spec.name,
            step,
            "selects other columns when text is `object` than when it is `category`, and both are usual",
            "Use make_column_selector, which takes either, or columns.categorical and columns.numeric.",
        )

    def _selected(self, selector: Any, given: _Input, step: str) -> list[int]:
        """Return the positions of the features that a `make_column_selector` takes."""
        included, excluded = _as_list(selector.dtype_include), _as_list(selector.dtype_exclude)
        # One of several may be in vain, such as int64 beside float64; if all are, the step would be given nothing.
        if included and not any(_has_dtype(kind, dtype) for kind in _DTYPES for dtype in included):
            raise EstimatorError(
                self._spec.name,
                step,
                f"selects columns of dtype {', '.join(map(str, included))}, which no feature has",
                "Numbers are float32 or float64, categories object, category or str, and booleans bool.",
            )
        pattern = selector.pattern
        return [
            at
            for at, feature in enumerate(given.features)
            if (pattern is None or re.search(pattern, feature.name))
            and (not included or any(_has_dtype(feature.kind, dtype) for dtype in included))
            and not any(_has_dtype(feature.kind, dtype) for dtype in excluded)
        ]

    def _name_parameters(self, part: Any, given: _Input | None, path: str) -> None:
        for name, value in _named_parameters(part).items():
            step = step_name(path, part)
            if isinstance(value, Mapping):  # of a name to its direction
                for each in value:
                    self._index(each, given, step)
                assert given is not None  # noqa: S101  # `_index` has refused names without it
                part.set_params(**{name: [value.get(each, 0) for each in given.names]})
            else:
                part.set_params(**{name: [self._index(each, given, step) for each in value]})

    def _unnamed(self, step: str, found: str) -> EstimatorError:
        return EstimatorError(
            self._spec.name,
            step,
            f"{found}, but it is not given the features: another step comes before it, whose output has no names",
            "Make it the first step, or use positions in the output of the step before it.",
        )


def _named_parameters(part: Any) -> dict[str, Any]:
    """Return the parameters of histogram boosting that hold names of features."""
    params = part.get_params(deep=False) if hasattr(part, "get_params") and not isinstance(part, type) else {}
    categorical, monotonic = params.get("categorical_features"), params.get("monotonic_cst")
    found: dict[str, Any] = {}
    if isinstance(categorical, list | tuple | np.ndarray) and any(isinstance(each, str) for each in categorical):
        found["categorical_features"] = list(categorical)
    if isinstance(monotonic, Mapping):
        found["monotonic_cst"] = monotonic
    return found


def _gives_a_part(part: Any) -> bool:
    """Return whether a meta-estimator gives the estimators within it only some of the columns."""
    params = part.get_params(deep=False)
    drawn = type(part).__name__.startswith("Bagging") and (
        params["max_features"] != 1.0 or params["bootstrap_features"]
    )
    return drawn or type(part).__name__ in _SELECTING


def _is_selector(columns: Any) -> bool:
    from sklearn.compose import make_column_selector

    return isinstance(columns, make_column_selector)


def _has_dtype(kind: str, dtype: Any) -> bool:
    """Return whether a feature of the kind may be a column of the dtype, as ``select_dtypes`` understands it."""
    import pandas as pd

    for each in _DTYPES[kind]:
        frame = pd.DataFrame({"x": pd.Series([], dtype=each)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about `object` and `str`, which both count here
            try:
                found = frame.select_dtypes(include=[dtype])
            except (TypeError, ValueError):  # a dtype that pandas does not know: no feature has it
                return False
        if found.shape[1]:
            return True
    return False


def _as_list(dtypes: Any) -> list[Any]:
    if dtypes is None:
        return []
    return list(dtypes) if isinstance(dtypes, list | tuple | set) else [dtypes]


def _listed(selected: Any) -> list[Any]:
    if isinstance(selected, str | slice) or not isinstance(selected, Iterable):
        return [selected]
    return list(selected)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _join(path: str, name: str) -> str:
    return f"{path}__{name}" if path else name
