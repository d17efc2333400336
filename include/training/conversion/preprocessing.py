"""Transformers: `sklearn.preprocessing`, `impute`, `decomposition` and `feature_selection`.

Each rounds where scikit-learn rounds: a tree that comes after it compares the rounded numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from include.training.conversion.graph import Graph, Tensor
from include.training.conversion.registry import Conversion, converts

# Scalers


@converts("sklearn.StandardScaler", method="transform")
def _standard(conversion: Conversion, scaler: Any, x: Tensor) -> Tensor:
    # Mean and scale are rounded to the type of the rows first, and the differences again.
    graph = conversion.graph
    if scaler.with_mean:
        x = graph.elementwise("Sub", x, np.asarray(scaler.mean_, dtype=x.dtype))
    if scaler.with_std:
        x = graph.elementwise("Div", x, np.asarray(scaler.scale_, dtype=x.dtype))
    return x


@converts("sklearn.MinMaxScaler", method="transform")
def _min_max(conversion: Conversion, scaler: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    x = graph.elementwise("Add", graph.elementwise("Mul", x, scaler.scale_), scaler.min_)
    return _clipped(graph, x, *scaler.feature_range) if scaler.clip else x


@converts("sklearn.MaxAbsScaler", method="transform")
def _max_abs(conversion: Conversion, scaler: Any, x: Tensor) -> Tensor:
    x = conversion.graph.elementwise("Div", x, scaler.scale_)
    return _clipped(conversion.graph, x, -1.0, 1.0) if getattr(scaler, "clip", False) else x


@converts("sklearn.RobustScaler", method="transform")
def _robust(conversion: Conversion, scaler: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    if scaler.with_centering:
        x = graph.elementwise("Sub", x, scaler.center_)
    return graph.elementwise("Div", x, scaler.scale_) if scaler.with_scaling else x


def _clipped(graph: Graph, x: Tensor, low: float, high: float) -> Tensor:
    return Tensor(
        graph.node("Clip", x.name, graph.constant(low, x.dtype), graph.constant(high, x.dtype)), x.width, x.dtype
    )


@converts("sklearn.Binarizer", method="transform")
def _binarizer(conversion: Conversion, binarizer: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    above = graph.node("Greater", graph.cast(x, "float64").name, graph.constant([[float(binarizer.threshold)]]))
    return graph.numbers(above, x.width, x.dtype)


@converts("sklearn.Normalizer", method="transform")
def _normalizer(conversion: Conversion, normalizer: Any, x: Tensor) -> Tensor:
    graph, wide = conversion.graph, conversion.graph.cast(x, "float64")
    size = graph.unary("Abs", wide)
    match normalizer.norm:
        case "l1":
            norm = graph.row_sum(size)
        case "l2":
            norm = graph.unary("Sqrt", graph.row_sum(graph.binary("Mul", wide, wide)))
        case _:
            highest = graph.node("ReduceMax", size.name, graph.constant([1], "int64"), keepdims=1)
            norm = Tensor(highest, 1, "float64")
    safe = graph.where(graph.node("Equal", norm.name, graph.constant([[0.0]])), norm, [1.0])
    return graph.as_inexact(graph.cast(graph.binary("Div", wide, safe), x.dtype))


# Encoders of categories


def _one_column_a_category(conversion: Conversion, encoder: Any, x: Tensor) -> Tensor:
    """Return, for all categories of all columns side by side, whether the row has it: 1 or 0, double."""
    graph = conversion.graph
    owners = [column for column, known in enumerate(encoder.categories_) for _ in known]
    values = np.concatenate([np.asarray(known) for known in encoder.categories_])
    if values.dtype.kind not in "fiu":
        conversion.refuse(
            f"its categories are {values.dtype.name}, and it gets numbers", "Leave categories='auto', or give codes."
        )
    values = values.astype(np.float64)
    spread = graph.cast(graph.columns(x, owners), "float64")
    equal = graph.node("Equal", spread.name, graph.constant(values.reshape(1, -1)))
    if np.isnan(values).any():
        missing = graph.node("Cast", graph.constant(np.isnan(values).reshape(1, -1), "float64"), to=TensorProto.BOOL)
        equal = graph.node("Or", equal, graph.node("And", graph.is_nan(spread), missing))
    return graph.numbers(equal, len(owners))


@converts("sklearn.OneHotEncoder", method="transform")
def _one_hot(conversion: Conversion, encoder: Any, x: Tensor) -> Tensor:
    graph, found = conversion.graph, _one_column_a_category(conversion, encoder, x)
    weights, start = np.zeros((found.width, sum(encoder._n_features_outs))), np.zeros(sum(encoder._n_features_outs))  # noqa: SLF001
    dropped = encoder._drop_idx_after_grouping  # noqa: SLF001
    row = first = 0
    for column, known in enumerate(encoder.categories_):
        groups = _groups(encoder, column, len(known))
        skipped = None if dropped is None else dropped[column]
        outputs = [each for each in range(max(groups) + 1) if each != skipped]
        for position, group in enumerate(groups):
            if group != skipped:
                weights[row + position, first + outputs.index(group)] = 1.0
        unknown = _group_of_unknown(encoder, column, groups)
        if unknown is not None and unknown != skipped:
            # An unknown category counts as infrequent: 1, less 1 if the category is known.
            place = first + outputs.index(unknown)
            start[place] = 1.0
            weights[row : row + len(known), place] -= 1.0
        row, first = row + len(known), first + len(outputs)
    if not np.array_equal(weights, np.eye(*weights.shape)) or start.any():
        found = graph.affine(found, weights, start, exact=True)  # whole numbers: exact in any order
    return replace(graph.cast(found, np.dtype(encoder.dtype).name), sparse=bool(encoder.sparse_output))


def _groups(encoder: Any, column: int, count: int) -> list[int]:
    """Return each category's position after the infrequent ones are made one group."""
    mappings = getattr(encoder, "_default_to_infrequent_mappings", None)
    mapping = None if mappings is None else mappings[column]
    return list(range(count)) if mapping is None else [int(each) for each in mapping]


def _group_of_unknown(encoder: Any, column: int, groups: list[int]) -> int | None:
    if encoder.handle_unknown not in ("infrequent_if_exist", "warn") or not getattr(
        encoder, "_infrequent_enabled", False
    ):
        return None
    infrequent = encoder._infrequent_indices[column]  # noqa: SLF001
    return None if infrequent is None else groups[int(infrequent[0])]


@converts("sklearn.OrdinalEncoder", method="transform")
def _ordinal(conversion: Conversion, encoder: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    known = _one_column_a_category(conversion, encoder, x)
    columns = len(encoder.categories_)
    codes, member = np.zeros((known.width, columns)), np.zeros((known.width, columns))
    missing_code = np.zeros((known.width, columns))
    row = 0
    for column, categories in enumerate(encoder.categories_):
        for position, code in enumerate(_ordinal_codes(encoder, column, len(categories))):
            member[row + position, column] = 1.0
            if np.isnan(code):
                missing_code[row + position, column] = 1.0
            else:
                codes[row + position, column] = code
        row += len(categories)
    found = graph.affine(known, codes, exact=True)
    if missing_code.any():
        found = graph.where(
            _is_one(graph, graph.affine(known, missing_code, exact=True)), found, np.full(columns, np.nan)
        )
    if encoder.handle_unknown == "use_encoded_value":
        unknown = graph.node("Less", graph.affine(known, member, exact=True).name, graph.constant([[0.5]]))
        found = graph.where(unknown, found, np.full(columns, float(encoder.unknown_value)))
    return graph.cast(found, np.dtype(encoder.dtype).name)


def _ordinal_codes(encoder: Any, column: int, count: int) -> list[float]:
    codes = [float(each) for each in _groups(encoder, column, count)]
    missing = getattr(encoder, "_missing_indices", {}).get(column)
    if missing is not None:
        codes[missing] = float(encoder.encoded_missing_value)
    return codes


def _is_one(graph: Graph, x: Tensor) -> str:
    return graph.node("Greater", x.name, graph.constant([[0.5]]))


@converts("sklearn.TargetEncoder", method="transform")
def _target_encoder(conversion: Conversion, encoder: Any, x: Tensor) -> Tensor:
    graph, known = conversion.graph, _one_column_a_category(conversion, encoder, x)
    columns = len(encoder.categories_)
    outputs = len(encoder.encodings_) // columns
    weights, member = np.zeros((known.width, columns * outputs)), np.zeros((known.width, columns * outputs))
    rest = np.repeat(np.resize(np.atleast_1d(encoder.target_mean_), outputs)[None, :], columns, axis=0).ravel()
    row = 0
    for column, categories in enumerate(encoder.categories_):
        for output in range(outputs):
            place = column * outputs + output
            weights[row : row + len(categories), place] = encoder.encodings_[place]
            member[row : row + len(categories), place] = 1.0
        row += len(categories)
    unknown = graph.node("Less", graph.affine(known, member, exact=True).name, graph.constant([[0.5]]))
    return graph.where(unknown, graph.affine(known, weights, exact=True), rest)


# Bins, powers and splines


@converts("sklearn.KBinsDiscretizer", method="transform")
def _bins(conversion: Conversion, binner: Any, x: Tensor) -> Tensor:
    graph, inner = conversion.graph, [np.asarray(edges[1:-1], dtype=np.float64) for edges in binner.bin_edges_]
    owners = [column for column, edges in enumerate(inner) for _ in edges]
    belongs = np.zeros((len(owners), len(inner)))
    belongs[np.arange(len(owners)), owners] = 1.0
    if owners:
        spread = graph.cast(graph.columns(x, owners), "float64")
        reached = graph.node("GreaterOrEqual", spread.name, graph.constant(np.concatenate(inner).reshape(1, -1)))
        codes = graph.affine(graph.numbers(reached, len(owners)), belongs, exact=True)
    else:
        codes = graph.elementwise("Mul", graph.cast(x, "float64"), [0.0])
    if binner.encode == "ordinal":
        return graph.cast(codes, x.dtype)
    return graph.cast(conversion.transform(binner._encoder, codes, "encoder"), x.dtype)  # noqa: SLF001


@converts("sklearn.PolynomialFeatures", method="transform")
def _polynomial(conversion: Conversion, features: Any, x: Tensor) -> Tensor:
    graph, powers = conversion.graph, np.asarray(features.powers_)
    made: dict[tuple[int, ...], Tensor] = {}

    def product(chosen: tuple[int, ...]) -> Tensor:
        # As scikit-learn: the product of all but the first factor, times the first, rounded each time.
        if chosen not in made:
            first = graph.columns(x, [chosen[0]])
            made[chosen] = first if len(chosen) == 1 else graph.binary("Mul", product(chosen[1:]), first)
        return made[chosen]

    parts = []
    for row in powers:
        chosen = tuple(column for column, power in enumerate(row) for _ in range(power))
        if chosen:
            parts.append(product(chosen))
        else:
            zero = graph.elementwise("Mul", graph.columns(x, [0]), [0.0])
            parts.append(graph.elementwise("Add", zero, [1.0]))
    return graph.concat(parts)


@converts("sklearn.SplineTransformer", method="transform")
def _spline(conversion: Conversion, splines: Any, x: Tensor) -> Tensor:
    if splines.extrapolation not in ("constant", "continue"):
        conversion.refuse(
            f"extrapolation='{splines.extrapolation}' has no converter",
            "Use extrapolation='constant' or 'continue', or KBinsDiscretizer.",
        )
    graph = conversion.graph
    parts = [
        _spline_column(graph, splines, each, graph.columns(x, [column]))
        for column, each in enumerate(splines.bsplines_)
    ]
    kept = slice(0, None) if splines.include_bias else slice(0, -1)
    trimmed = [graph.columns(each, range(each.width)[kept]) for each in parts]
    return graph.cast(graph.concat(trimmed), x.dtype)


def _spline_column(graph: Graph, splines: Any, spline: Any, x: Tensor) -> Tensor:
    """Evaluate the polynomials of the piece in which the number lies (Horner's rule)."""
    degree, knots = spline.k, spline.t
    inner = knots[degree : len(knots) - degree]
    wide = graph.cast(x, "float64")
    if splines.extrapolation == "constant":
        wide = _clipped(graph, wide, float(inner[0]), float(inner[-1]))
    pieces = len(inner) - 1
    reached = graph.node("GreaterOrEqual", wide.name, graph.constant(inner[1:-1].reshape(1, -1)))
    count = _counted(graph, reached, pieces - 1) if pieces > 1 else None
    flat = graph.node("Reshape", count.name, graph.constant([-1], "int64")) if count else None
    piece = graph.node("Cast", flat, to=TensorProto.INT64) if flat else None
    table = _piece_coefficients(spline, inner)

    def chosen(values: NDArray[np.float64]) -> str:
        rows = graph.constant(values)
        return graph.node("Gather", rows, piece, axis=0) if piece else rows

    offset = graph.node("Sub", wide.name, chosen(inner[:-1].reshape(-1, 1)))
    found = chosen(table[0])
    for each in table[1:]:
        found = graph.node("Add", graph.node("Mul", found, offset), chosen(each))
    return graph.as_inexact(Tensor(found, table.shape[2], "float64"))


def _piece_coefficients(spline: Any, inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polynomials' coefficients, the highest power first; shape (degree + 1, pieces, outputs)."""
    from math import factorial

    degree = spline.k
    middle = inner[:-1]
    return np.stack(
        [
            spline.derivative(power)(middle) / factorial(power) if power else spline(middle)
            for power in range(degree, -1, -1)
        ]
    )


@converts("sklearn.PowerTransformer", method="transform")
def _power(conversion: Conversion, transformer: Any, x: Tensor) -> Tensor:
    graph, parts = conversion.graph, []
    for column, exponent in enumerate(transformer.lambdas_):
        each = graph.cast(graph.columns(x, [column]), "float64")
        power = _box_cox if transformer.method == "box-cox" else _yeo_johnson
        parts.append(power(graph, each, float(exponent)))
    found = graph.as_inexact(graph.cast(graph.concat(parts), x.dtype))
    return conversion.transform(transformer._scaler, found, "standardize") if transformer.standardize else found  # noqa: SLF001


def _box_cox(graph: Graph, x: Tensor, exponent: float) -> Tensor:
    if exponent == 0:
        return graph.unary("Log", x)
    raised = Tensor(graph.node("Pow", x.name, graph.constant([[exponent]])), 1, "float64")
    return graph.elementwise("Div", graph.elementwise("Sub", raised, [1.0]), [exponent])


def _yeo_johnson(graph: Graph, x: Tensor, exponent: float) -> Tensor:
    negative = graph.node("Less", x.name, graph.constant([[0.0]]))
    size = graph.elementwise("Add", graph.unary("Abs", x), [1.0])
    above, below = _box_cox(graph, size, exponent), _box_cox(graph, size, 2.0 - exponent)
    below = graph.unary("Neg", below)
    return Tensor(graph.node("Where", negative, below.name, above.name), 1, "float64")


@converts("sklearn.QuantileTransformer", method="transform")
def _quantile(conversion: Conversion, transformer: Any, x: Tensor) -> Tensor:
    if transformer.output_distribution != "uniform":
        conversion.refuse(
            "output_distribution='normal' needs the inverse of the normal distribution, which ONNX does not have",
            "Use output_distribution='uniform', or PowerTransformer.",
        )
    graph, parts = conversion.graph, []
    references = np.asarray(transformer.references_, dtype=np.float64)
    for column in range(x.width):
        each = graph.cast(graph.columns(x, [column]), "float64")
        quantiles = np.asarray(transformer.quantiles_[:, column], dtype=np.float64)
        upper = interpolated(graph, each, quantiles, references)
        lower = interpolated(graph, graph.unary("Neg", each), -quantiles[::-1], -references[::-1])
        found = graph.elementwise("Mul", graph.binary("Sub", upper, lower), [0.5])
        for bound, value in ((quantiles[-1], 1.0), (quantiles[0], 0.0)):
            found = graph.where(graph.node("Equal", each.name, graph.constant([[bound]])), found, [value])
        missing = graph.is_nan(each)
        parts.append(graph.where(missing, found, [np.nan]))
    return graph.cast(graph.concat(parts), x.dtype)


def _counted(graph: Graph, mask: str, width: int) -> Tensor:
    """Return in how many of its `width` columns the mask of each row holds, shape (n, 1)."""
    return graph.affine(graph.numbers(mask, width), np.ones((width, 1)), exact=True)


def interpolated(graph: Graph, x: Tensor, places: NDArray[np.float64], values: NDArray[np.float64]) -> Tensor:
    """Return ``numpy.interp(x, places, values)``: linear between the places, constant beyond them.

    Parameters
    ----------
    x : Tensor of double, shape (n, 1)
    places, values : ndarray of float64, shape (n_places,)
        `places` do not fall.
    """
    clipped = _clipped(graph, x, float(places[0]), float(places[-1]))
    if len(places) < 2:
        return graph.elementwise("Add", graph.elementwise("Mul", clipped, [0.0]), [float(values[0])])
    # The piece of a number is the last one that begins at or below it.
    begins = places[1:-1]
    width = np.diff(places)
    slope = np.divide(np.diff(values), width, out=np.zeros_like(width), where=width > 0)
    if len(begins):
        reached = graph.node("GreaterOrEqual", clipped.name, graph.constant(begins.reshape(1, -1)))
        count = _counted(graph, reached, len(begins))
        piece = graph.node("Cast", count.name, to=TensorProto.INT64)
        take = [graph.node("Gather", graph.constant(each), piece, axis=0) for each in (places[:-1], slope, values[:-1])]
    else:
        take = [graph.constant([[each[0]]]) for each in (places, slope, values)]
    rise = graph.node("Mul", graph.node("Sub", clipped.name, take[0]), take[1])
    found = Tensor(graph.node("Add", rise, take[2]), 1, "float64")
    found = graph.where(graph.node("Equal", clipped.name, graph.constant([[float(places[-1])]])), found, [values[-1]])
    return graph.where(graph.node("Less", x.name, graph.constant([[float(places[0])]])), found, [values[0]])


# Nulls


@converts("sklearn.SimpleImputer", method="transform")
def _imputed(conversion: Conversion, imputer: Any, x: Tensor) -> Tensor:
    graph, statistics = conversion.graph, np.asarray(imputer.statistics_, dtype=np.float64)
    missing = imputer.missing_values
    if not isinstance(missing, float | int):
        conversion.refuse(f"missing_values={missing!r} is no number", "Leave missing_values out: a null is NaN.")

    def is_missing(values: Tensor) -> str:
        if missing != missing:  # NaN
            return graph.is_nan(values)
        return graph.node("Equal", values.name, graph.constant([[missing]], values.dtype))

    kept = np.arange(x.width) if imputer.keep_empty_features else np.flatnonzero(~np.isnan(statistics))
    values = graph.columns(x, kept.tolist())
    filled = graph.where(is_missing(values), values, statistics[kept])
    if imputer.indicator_ is None:
        return filled
    seen = graph.columns(x, imputer.indicator_.features_)
    return graph.concat([filled, graph.numbers(is_missing(seen), seen.width, x.dtype)])


@converts("sklearn.MissingIndicator", method="transform")
def _missing_indicator(conversion: Conversion, indicator: Any, x: Tensor) -> Tensor:
    graph, seen = conversion.graph, conversion.graph.columns(x, indicator.features_)
    if not (isinstance(indicator.missing_values, float) and np.isnan(indicator.missing_values)):
        conversion.refuse("missing_values is not NaN", "Leave missing_values out: a null is NaN.")
    return graph.numbers(graph.is_nan(seen), seen.width)


@converts("sklearn.KNNImputer", method="transform")
def _nearest_imputed(conversion: Conversion, imputer: Any, x: Tensor) -> Tensor:  # noqa: ARG001  # refused whatever it is
    return conversion.refuse(
        "it compares each row with all training rows, which the artifact does not hold",
        "Use SimpleImputer, or HistGradientBoosting, which takes nulls.",
    )


@converts("sklearn.IterativeImputer", method="transform")
def _iterative_imputed(conversion: Conversion, imputer: Any, x: Tensor) -> Tensor:  # noqa: ARG001  # refused whatever it is
    return conversion.refuse(
        "it fits and predicts in rounds until its values settle", "Use SimpleImputer, or HistGradientBoosting."
    )


# Projections and selections


@converts("sklearn.PCA", "sklearn.IncrementalPCA", method="transform")
def _components(conversion: Conversion, pca: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    weights = np.asarray(pca.components_, dtype=np.float64).T
    found = graph.affine(x, weights, -np.asarray(pca.mean_, dtype=np.float64).reshape(1, -1) @ weights)
    if pca.whiten:
        scale = np.sqrt(pca.explained_variance_)
        found = graph.elementwise("Div", found, np.maximum(scale, np.finfo(scale.dtype).eps))
    return graph.cast(found, x.dtype)


@converts("sklearn.TruncatedSVD", method="transform")
def _truncated(conversion: Conversion, svd: Any, x: Tensor) -> Tensor:
    return conversion.graph.cast(conversion.graph.affine(x, svd.components_.T), x.dtype)


_SELECTORS: Final = (
    "GenericUnivariateSelect",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "VarianceThreshold",
    "RFE",
    "RFECV",
)


@converts(*(f"sklearn.{each}" for each in _SELECTORS), method="transform")
def _selected(conversion: Conversion, selector: Any, x: Tensor) -> Tensor:
    return conversion.graph.columns(x, selector.get_support(indices=True).tolist())
