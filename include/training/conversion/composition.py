"""Estimators that hold others: pipelines, unions, searches, calibration, voting, stacking, thresholds."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any, Final

import numpy as np

from include.training.conversion.graph import Tensor
from include.training.conversion.linear_model import sum_to_one
from include.training.conversion.preprocessing import interpolated
from include.training.conversion.registry import Conversion, Method, converts

_STEEPEST_CHANGE: Final = 1e-5
"""Of a probability, by one last bit of its input; the tolerance of a model that declares none."""
_METHODS: Final[tuple[Method, ...]] = ("transform", "predict", "predict_proba", "decision_function")


def _each_method(*classes: str, attribute: str) -> None:
    """Register classes whose methods are those of an estimator that they hold."""

    def register(method: Method) -> None:
        @converts(*classes, method=method)
        def held(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
            found: Tensor = getattr(conversion, method)(getattr(outer, attribute), x, attribute)
            return found

    for each in _METHODS:
        register(each)


_each_method(
    "sklearn.GridSearchCV",
    "sklearn.RandomizedSearchCV",
    "sklearn.HalvingGridSearchCV",
    "sklearn.HalvingRandomSearchCV",
    attribute="best_estimator_",
)
_each_method(
    "sklearn.TunedThresholdClassifierCV",
    "sklearn.SelfTrainingClassifier",
    "sklearn.FrozenEstimator",
    attribute="estimator_",
)


def _register_pipeline() -> None:
    def register(method: Method) -> None:
        @converts("sklearn.Pipeline", method=method)
        def through(conversion: Conversion, pipeline: Any, x: Tensor) -> Tensor:
            *before, (name, last) = pipeline.steps
            for each, step in before:
                x = conversion.transform(step, x, each)
            found: Tensor = getattr(conversion, method)(last, x, name)
            return found

        @converts("sklearn.RFE", "sklearn.RFECV", method=method)
        def selected(conversion: Conversion, selector: Any, x: Tensor) -> Tensor:
            x = conversion.graph.columns(x, selector.get_support(indices=True))
            found: Tensor = (
                x if method == "transform" else getattr(conversion, method)(selector.estimator_, x, "estimator_")
            )
            return found

    for each in _METHODS:
        register(each)


_register_pipeline()


@converts("sklearn.FixedThresholdClassifier", method="predict_proba")
def _fixed_threshold(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
    return conversion.predict_proba(getattr(outer, "estimator_", outer.estimator), x, "estimator")


# Columns and unions


@converts("sklearn.ColumnTransformer", method="transform")
def _by_columns(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
    graph, parts = conversion.graph, []
    for name, step, columns in outer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        positions = _positions(conversion, outer, columns, x.width)
        if not positions:
            continue
        part = graph.columns(x, positions)
        parts.append(part if isinstance(step, str) else conversion.transform(step, part, name))
    if not parts:
        conversion.refuse("it drops every column", "Let it keep at least one column.")
    return replace(graph.concat(parts), sparse=bool(outer.sparse_output_))


def _positions(conversion: Conversion, outer: Any, columns: Any, width: int) -> list[int]:
    if isinstance(columns, slice):
        return list(range(width))[columns]
    chosen = [columns] if isinstance(columns, int | np.integer) else list(columns)
    if chosen and all(isinstance(each, bool | np.bool_) for each in chosen):
        return [position for position, each in enumerate(chosen) if each]
    if any(isinstance(each, str) for each in chosen):
        names = list(getattr(outer, "feature_names_in_", ()))
        if not set(chosen) <= set(names):
            conversion.refuse(
                "it names columns, and it gets a matrix without names", "Use the positions: columns.index('name', ...)."
            )
        return [names.index(each) for each in chosen]
    return [int(each) % width for each in chosen]


@converts("sklearn.FeatureUnion", method="transform")
def _union(conversion: Conversion, union: Any, x: Tensor) -> Tensor:
    graph, parts = conversion.graph, []
    for name, step in union.transformer_list:
        if isinstance(step, str) and step == "drop":
            continue
        part = conversion.transform(step, x, name)
        weight = (union.transformer_weights or {}).get(name)
        parts.append(part if weight is None else graph.elementwise("Mul", part, [float(weight)]))
    return graph.concat(parts)


_FUNCTIONS: Final = {
    np.abs: "Abs",
    np.sqrt: "Sqrt",
    np.log: "Log",
    np.negative: "Neg",
    np.floor: "Floor",
    np.ceil: "Ceil",
    np.sign: "Sign",
    np.reciprocal: "Reciprocal",
}


@converts("sklearn.FunctionTransformer", method="transform")
def _function(conversion: Conversion, transformer: Any, x: Tensor) -> Tensor:
    return _applied(conversion, transformer.func, x, bool(transformer.kw_args))


def _applied(conversion: Conversion, function: Any, x: Tensor, arguments: bool = False) -> Tensor:
    graph = conversion.graph
    if function is None:
        return x
    if getattr(getattr(function, "func", None), "__name__", "") == "check_array":  # of histogram boosting
        return graph.cast(x, "float64")
    wide = graph.cast(x, "float64")
    if function in (np.float64, np.float32):
        return graph.cast(x, np.dtype(function).name)
    if not arguments:
        if function in _FUNCTIONS:
            found = graph.cast(graph.unary(_FUNCTIONS[function], wide), x.dtype)
            return graph.as_inexact(found) if function is np.log else found
        if function is np.exp:
            return graph.as_inexact(graph.cast(graph.exp(wide), x.dtype))
        if function is np.expm1:
            return graph.as_inexact(graph.cast(graph.elementwise("Sub", graph.exp(wide), [1.0]), x.dtype))
        if function is np.log1p:
            return graph.as_inexact(graph.cast(graph.unary("Log", graph.elementwise("Add", wide, [1.0])), x.dtype))
        if function is np.square:
            return graph.cast(graph.binary("Mul", wide, wide), x.dtype)
    name = getattr(function, "__name__", repr(function))
    return conversion.refuse(
        f"its function '{name}' is Python code, which does not convert",
        "Use one of numpy's log, log1p, exp, expm1, sqrt, square, abs, sign, floor, ceil, or do it in features.sql.",
    )


@converts("sklearn.TransformedTargetRegressor", method="predict")
def _transformed_target(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
    found = conversion.graph.cast(conversion.predict(outer.regressor_, x, "regressor_"), "float64")
    return _inverse(conversion, outer.transformer_, found)


def _inverse(conversion: Conversion, transformer: Any, x: Tensor) -> Tensor:
    """Add what ``transformer.inverse_transform`` does to a target, shape (n, 1)."""
    graph = conversion.graph
    match type(transformer).__name__:
        case "FunctionTransformer":
            return _applied(conversion, transformer.inverse_func, x, bool(transformer.inv_kw_args))
        case "StandardScaler":
            if transformer.with_std:
                x = graph.elementwise("Mul", x, transformer.scale_)
            return graph.elementwise("Add", x, transformer.mean_) if transformer.with_mean else x
        case "MinMaxScaler":
            return graph.elementwise("Div", graph.elementwise("Sub", x, transformer.min_), transformer.scale_)
        case "MaxAbsScaler":
            return graph.elementwise("Mul", x, transformer.scale_)
        case "RobustScaler":
            if transformer.with_scaling:
                x = graph.elementwise("Mul", x, transformer.scale_)
            return graph.elementwise("Add", x, transformer.center_) if transformer.with_centering else x
        case "QuantileTransformer" if transformer.output_distribution == "uniform":
            quantiles = np.asarray(transformer.quantiles_[:, 0], dtype=np.float64)
            return interpolated(graph, x, np.asarray(transformer.references_, dtype=np.float64), quantiles)
        case kind:
            return conversion.refuse(
                f"the inverse of its transformer {kind} has no converter",
                "Use func and inverse_func of numpy (log1p and expm1), or a scaler.",
            )


# Probabilities from others


@converts("sklearn.CalibratedClassifierCV", method="predict_proba")
def _calibrated(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
    graph, total = conversion.graph, None
    for position, each in enumerate(outer.calibrated_classifiers_):
        found = _one_calibrated(conversion, each, x, f"calibrated_classifiers_[{position}]")
        total = found if total is None else graph.binary("Add", total, found)
    if total is None:
        conversion.refuse("it holds no calibrated classifier", "Fit it.")
    return graph.elementwise("Div", total, [float(len(outer.calibrated_classifiers_))])


def _one_calibrated(conversion: Conversion, calibrated: Any, x: Tensor, name: str) -> Tensor:
    graph, inner = conversion.graph, calibrated.estimator
    classes = len(calibrated.classes)
    if len(inner.classes_) != classes:
        conversion.refuse(f"{name} was fitted without one of the classes", "Use fewer folds (cv), or more rows.")
    decides = hasattr(inner, "decision_function")
    found = conversion.decision_function(inner, x, name) if decides else conversion.predict_proba(inner, x, name)
    found = graph.cast(found, "float64")
    if calibrated.method == "temperature":
        return _by_temperature(conversion, calibrated.calibrators[0], found, decides)
    if not decides and classes == 2:
        found = graph.columns(found, [1])
    columns = [
        _by_calibrator(conversion, calibrator, graph.columns(found, [position]))
        for position, calibrator in enumerate(calibrated.calibrators)
    ]
    return graph.with_complement(columns[0]) if classes == 2 else sum_to_one(graph, graph.concat(columns))


def _by_calibrator(conversion: Conversion, calibrator: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    if type(calibrator).__name__ == "_SigmoidCalibration":
        line = graph.elementwise("Add", graph.elementwise("Mul", x, [float(calibrator.a_)]), [float(calibrator.b_)])
        return graph.sigmoid(graph.unary("Neg", line))
    return _isotonic(conversion, calibrator, x)


@converts("sklearn.IsotonicRegression", method="predict")
def _isotonic(conversion: Conversion, isotonic: Any, x: Tensor) -> Tensor:
    if isotonic.out_of_bounds != "clip":
        conversion.refuse(f"out_of_bounds='{isotonic.out_of_bounds}' refuses rows", "Set out_of_bounds='clip'.")
    graph, places = conversion.graph, isotonic.X_thresholds_
    _require_gentle_steps(conversion, isotonic, graph.last_bit(x))
    rounded = graph.cast(graph.cast(x, places.dtype.name), "float64")
    values = np.asarray(isotonic.y_thresholds_, dtype=np.float64)
    found = interpolated(graph, rounded, np.asarray(places, dtype=np.float64), values)
    return graph.cast(graph.cast(found, places.dtype.name), "float64")


def _require_gentle_steps(conversion: Conversion, isotonic: Any, last_bit: float) -> None:
    """Refuse a step so steep that the last bits of its input decide what it answers."""
    places, values = (np.asarray(each, dtype=np.float64) for each in (isotonic.X_thresholds_, isotonic.y_thresholds_))
    if len(places) < 2 or not last_bit:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.nanmax(np.diff(values) / np.diff(places)) * last_bit * np.abs(places).max()
    if change > _STEEPEST_CHANGE:
        conversion.refuse(
            f"the last bits of its input, which are not reproducible, change its answer by {change:.1g}",
            "Use method='sigmoid'; or, if the estimator inside can compute in double (XGBoost cannot), put "
            "FunctionTransformer(np.float64) before it.",
        )


def _by_temperature(conversion: Conversion, calibrator: Any, found: Tensor, decides: bool) -> Tensor:
    graph, power = conversion.graph, float(calibrator.beta_)
    if decides:
        logits = graph.affine(found, np.array([[-1.0, 1.0]])) if found.width == 1 else found
        return graph.softmax(graph.elementwise("Mul", logits, [power]))
    from sklearn.calibration import _convert_to_logits

    smallest = float(signature(_convert_to_logits).parameters["eps"].default)
    # The softmax of power * log(p + smallest) is (p + smallest)^power, divided by the sum.
    raised = graph.elementwise("Pow", graph.elementwise("Add", found, [smallest]), [power])
    return graph.divided_by_sum(raised)


@converts("sklearn.VotingClassifier", method="predict_proba")
def _voted_proba(conversion: Conversion, voting: Any, x: Tensor) -> Tensor:
    return _average(conversion, voting, [conversion.predict_proba(each, x, name) for name, each in _named(voting)])


@converts("sklearn.VotingRegressor", method="predict")
def _voted_value(conversion: Conversion, voting: Any, x: Tensor) -> Tensor:
    return _average(conversion, voting, [conversion.predict(each, x, name) for name, each in _named(voting)])


def _named(outer: Any) -> list[tuple[str, Any]]:
    names = [name for name, each in outer.estimators if not (isinstance(each, str) and each == "drop")]
    return list(zip(names, outer.estimators_, strict=True))


def _average(conversion: Conversion, voting: Any, found: list[Tensor]) -> Tensor:
    graph = conversion.graph
    weights = [1.0] * len(found) if voting.weights is None else [float(each) for each in voting._weights_not_none]  # noqa: SLF001
    total = None
    for weight, each in zip(weights, found, strict=True):
        wide = graph.cast(each, "float64")
        part = wide if weight == 1.0 else graph.elementwise("Mul", wide, [weight])
        total = part if total is None else graph.binary("Add", total, part)
    if total is None:
        conversion.refuse("all its estimators are dropped", "Keep at least one.")
    return graph.elementwise("Div", total, [sum(weights)])


@converts("sklearn.StackingClassifier", method="predict_proba")
def _stacked_proba(conversion: Conversion, stacking: Any, x: Tensor) -> Tensor:
    return conversion.predict_proba(stacking.final_estimator_, _stacked(conversion, stacking, x), "final_estimator_")


@converts("sklearn.StackingClassifier", method="decision_function")
def _stacked_decision(conversion: Conversion, stacking: Any, x: Tensor) -> Tensor:
    return conversion.decision_function(
        stacking.final_estimator_, _stacked(conversion, stacking, x), "final_estimator_"
    )


@converts("sklearn.StackingRegressor", method="predict")
def _stacked_value(conversion: Conversion, stacking: Any, x: Tensor) -> Tensor:
    return conversion.predict(stacking.final_estimator_, _stacked(conversion, stacking, x), "final_estimator_")


def _stacked(conversion: Conversion, stacking: Any, x: Tensor) -> Tensor:
    graph, parts = conversion.graph, []
    classifier = hasattr(stacking, "classes_")
    methods = [
        each for each, (_, step) in zip(stacking.stack_method_, stacking.estimators, strict=False) if step != "drop"
    ]
    for (name, step), method in zip(_named(stacking), methods, strict=True):
        if classifier and method == "predict":
            conversion.refuse(f"{name} gives labels to the final estimator", "Use an estimator with probabilities.")
        part = graph.cast(getattr(conversion, method)(step, x, name), "float64")
        # Of two classes the second probability says it all.
        parts.append(graph.columns(part, [1]) if method == "predict_proba" and part.width == 2 else part)
    if stacking.passthrough:
        parts.append(x)
    return graph.concat(parts)


@converts("sklearn.OneVsRestClassifier", method="predict_proba")
def _one_against_rest(conversion: Conversion, outer: Any, x: Tensor) -> Tensor:
    graph, columns = conversion.graph, []
    for position, each in enumerate(outer.estimators_):
        if type(each).__name__ == "_ConstantPredictor":
            conversion.refuse(f"estimators_[{position}] saw one class only", "Use rows of every class.")
        found = graph.cast(conversion.predict_proba(each, x, f"estimators_[{position}]"), "float64")
        columns.append(graph.columns(found, [1]))
    return graph.with_complement(columns[0]) if len(columns) == 1 else graph.divided_by_sum(graph.concat(columns))
