"""The declared estimator: built, and checked before anything is fitted."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from typing import Any

from include.errors import EstimatorError, SluiceError
from include.spec import ModelSpec

# What estimators without probabilities are usually replaced by.
_WITH_PROBABILITIES = {
    "LinearSVC": "LogisticRegression(), or CalibratedClassifierCV(LinearSVC())",
    "NuSVC": "CalibratedClassifierCV(NuSVC())",
    "PassiveAggressiveClassifier": "SGDClassifier(loss='log_loss')",
    "Perceptron": "SGDClassifier(loss='log_loss')",
    "RidgeClassifier": "LogisticRegression()",
    "RidgeClassifierCV": "LogisticRegressionCV()",
    "SGDClassifier": "SGDClassifier(loss='log_loss')",
    "SVC": "CalibratedClassifierCV(SVC())",
    "VotingClassifier": "VotingClassifier(..., voting='soft')",
}


def build_estimator(spec: ModelSpec) -> Any:
    """Call the declared function, seed whatever is random in what it returns, and check that it fits the task.

    Raises
    ------
    EstimatorError
        When the function raises or returns no unfitted estimator, or the estimator does not predict what `task` says.
    """
    estimator = _built(spec)
    _check_interface(spec, estimator)
    _check_task(spec, estimator)
    if spec.task != "regression" and not any(_composed(part) for _, part in named_parts(estimator)):
        require_probabilities(spec, estimator)  # whether a composed one has them is known only when it is fitted
    unseeded = {
        name: spec.seed
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    return estimator.set_params(**unseeded)


def require_probabilities(spec: ModelSpec, estimator: Any) -> None:
    """Require that a classifier has ``predict_proba``.

    Raises
    ------
    EstimatorError
        Naming the step that lacks it.
    """
    if hasattr(estimator, "predict_proba"):
        return
    step, last = last_step(estimator)
    instead = _WITH_PROBABILITIES.get(type(last).__name__)
    advice = f"Use {instead}." if instead else "Use an estimator with it, or CalibratedClassifierCV around this one."
    raise EstimatorError(spec.name, step, "has no predict_proba, and a classifier is served as probabilities", advice)


def named_parts(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Yield every estimator within an estimator, outermost first, with its name, such as ``step scale (Scaler)``."""
    yield step_name("", estimator), estimator
    for name, part in estimator.get_params(deep=True).items():
        if hasattr(part, "get_params") and not inspect.isclass(part):
            yield step_name(name, part), part


def step_name(path: str, part: Any) -> str:
    """Return how errors name a part: its path within the estimator, and its class."""
    shown = path.replace("__", ".")
    return f"step {shown} ({type(part).__name__})" if shown else f"step {type(part).__name__}"


def last_step(estimator: Any) -> tuple[str, Any]:
    """Return the part that predicts, with its name: the last step of a pipeline, within a search too."""
    path, part = "", estimator
    while True:
        if getattr(part, "steps", None):
            name, part = part.steps[-1]
        elif hasattr(part, "refit") and hasattr(part, "estimator"):
            name, part = "estimator", getattr(part, "best_estimator_", part.estimator)
        else:
            return step_name(path, part), part
        path = f"{path}__{name}" if path else name


def last_step_name(estimator: Any) -> str:
    """Return the name of the part that predicts, as `ConversionError` takes it."""
    return last_step(estimator)[0].removeprefix("step ")


def one_line(error: BaseException) -> str:
    """Return the type and the first line of an error; of many fits that failed in a search, the last one's."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "fits failed" in lines[0]:
        return lines[-1][:300]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _built(spec: ModelSpec) -> Any:
    try:
        return spec.estimator(spec.columns)
    except SluiceError:
        raise
    except Exception as error:
        advice = "Correct it in spec.py."
        if isinstance(error, ImportError):
            advice = "Install the package where trainings run, or use another estimator."
        elif isinstance(error, LookupError | ValueError):
            advice = f"Correct it in spec.py; the features are: {', '.join(spec.columns.names)}."
        subject = f"{_builder(spec)}{_place(error)}"
        raise EstimatorError(spec.name, subject, f"fails: {one_line(error)}", advice) from error


def _builder(spec: ModelSpec) -> str:
    return f"function {getattr(spec.estimator, '__name__', 'estimator')} in spec.py"


def _place(error: BaseException) -> str:
    """Return the last line of a declaration that the error came through."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename.endswith("spec.py")]
    return f", line {lines[-1]}," if lines else ""


def _check_interface(spec: ModelSpec, estimator: Any) -> None:
    step = _builder(spec)
    expected = "expected to return an unfitted estimator, such as HistGradientBoostingClassifier(); found"
    if inspect.isclass(estimator):
        advice = f"Call the class: return {estimator.__name__}()."
        raise EstimatorError(spec.name, step, f"is {expected} the class {estimator.__name__}", advice)
    if estimator is None:
        raise EstimatorError(spec.name, step, f"is {expected} None", "Does it lack a `return`?")
    if callable(estimator) and not hasattr(estimator, "fit"):
        name = getattr(estimator, "__name__", type(estimator).__name__)
        raise EstimatorError(spec.name, step, f"is {expected} the function {name}", "Call it, and return its result.")
    lacking = [name for name in ("fit", "get_params", "set_params") if not hasattr(estimator, name)]
    if lacking:
        found = f"is {expected} {type(estimator).__name__}, which has no {', '.join(lacking)}"
        advice = "Return a scikit-learn estimator, or a class of yours that derives from BaseEstimator."
        if isinstance(estimator, list | tuple):
            advice = "To combine steps, return make_pipeline(...) or Pipeline([...])."
        raise EstimatorError(spec.name, step, found, advice)


def _check_task(spec: ModelSpec, estimator: Any) -> None:
    step, last = last_step(estimator)
    kind = _kind(estimator)
    wanted = "regressor" if spec.task == "regression" else "classifier"
    if kind == wanted:
        return
    name = type(last).__name__
    if kind in ("classifier", "regressor"):
        found = f"is a {kind}, and the task is {spec.task}"
        raise EstimatorError(spec.name, step, found, _other_kind(spec, name))
    if kind in ("clusterer", "outlier_detector", "density_estimator"):
        article = "an" if kind[0] == "o" else "a"
        found = f"is {article} {kind.replace('_', ' ')}, which learns no target, and the task is {spec.task}"
    elif not hasattr(estimator, "predict") and not _composed(last):
        found = f"predicts nothing: it has no predict, and the task is {spec.task}"
    else:
        return  # a class without tags: whether it predicts is seen when it is fitted
    raise EstimatorError(spec.name, step, found, f"End the pipeline with a {wanted}.")


def _kind(estimator: Any) -> str | None:
    from sklearn.utils import get_tags

    try:
        kind = get_tags(estimator).estimator_type
    except (AttributeError, TypeError):  # another library's class, or one that holds nothing yet
        kind = getattr(estimator, "_estimator_type", None)
    return None if kind is None else str(kind)


def _composed(part: Any) -> bool:
    """Return whether other estimators are parameters of the part, as of a search or a stack; a pipeline's are steps."""
    params = part.get_params(deep=False) if hasattr(part, "get_params") else {}
    return bool({"estimator", "estimators"} & params.keys()) or any(
        hasattr(value, "get_params") for value in params.values()
    )


def _other_kind(spec: ModelSpec, name: str) -> str:
    """Return the advice for an estimator of the wrong kind: its sister class, if scikit-learn has one."""
    from sklearn.utils import all_estimators

    regression = spec.task == "regression"
    pairs = [("Classifier", "Regressor"), ("SVC", "SVR"), ("LogisticRegression", "Ridge")]
    pairs += [("LogisticRegression", "LinearRegression")]
    known = {each for each, _ in all_estimators("regressor" if regression else "classifier")}
    others = [name.replace(*(pair if regression else pair[::-1])) for pair in pairs]
    sister = next((other for other in others if other != name and other in known), None)
    wanted = sister or ("a regressor" if regression else "a classifier")
    declared = "task='binary' or 'multiclass' with classes" if regression else "task='regression' without classes"
    return f"Use {wanted}, or declare {declared}, in spec.py."
