"""Kernel machines: `sklearn.svm` and kernel ridge regression."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.training.conversion.graph import Tensor
from include.training.conversion.registry import Conversion, converts


def _kernel(conversion: Conversion, model: Any, x: Tensor, rows: NDArray[np.float64], gamma: float) -> Tensor:
    """Return the kernel between each row and `rows`, double, shape (n, len(rows))."""
    graph, wide = conversion.graph, conversion.graph.cast(x, "float64")
    if model.kernel == "linear":
        return graph.affine(wide, rows.T)
    if model.kernel == "rbf":
        # |x - s|^2 = |x|^2 - 2 x s + |s|^2, around the mean of `rows`, so that large values do not cancel.
        centre = rows.mean(axis=0)
        near, others = graph.elementwise("Sub", wide, centre), rows - centre
        squared = graph.row_sum(graph.binary("Mul", near, near))
        mixed = graph.affine(near, -2.0 * others.T, (others**2).sum(axis=1))
        distance = graph.unary("Relu", Tensor(graph.node("Add", squared.name, mixed.name), len(rows), "float64"))
        return graph.exp(graph.elementwise("Mul", distance, [-gamma]))
    inner = graph.affine(wide, gamma * rows.T, np.full(len(rows), float(model.coef0)))
    if model.kernel in ("poly", "polynomial"):
        return Tensor(graph.node("Pow", inner.name, graph.constant([[float(model.degree)]])), len(rows), "float64")
    if model.kernel == "sigmoid":
        bent = graph.sigmoid(graph.elementwise("Mul", inner, [2.0]))
        return graph.elementwise("Sub", graph.elementwise("Mul", bent, [2.0]), [1.0])
    return conversion.refuse(
        f"the kernel {model.kernel!r} has no converter", "Use kernel='rbf', 'linear', 'poly' or 'sigmoid'."
    )


def _support(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    rows = np.asarray(model.support_vectors_, dtype=np.float64)
    return _kernel(conversion, model, x, rows, float(model._gamma))  # noqa: SLF001  # gamma='scale' as a number


@converts("sklearn.SVR", "sklearn.NuSVR", method="predict")
def _support_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    return conversion.graph.affine(_support(conversion, model, x), np.asarray(model.dual_coef_).T, model.intercept_)


@converts("sklearn.SVC", "sklearn.NuSVC", method="decision_function")
def _support_decision(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    kernel, coefficients = _support(conversion, model, x), np.asarray(model.dual_coef_)
    classes = len(model.classes_)
    if classes == 2:
        return conversion.graph.affine(kernel, coefficients.T, model.intercept_)
    if model.decision_function_shape != "ovr" or model.break_ties:
        conversion.refuse("decision_function_shape is not 'ovr'", "Use decision_function_shape='ovr'.")
    ends = np.cumsum([0, *model.n_support_])
    weights = np.zeros((kernel.width, classes * (classes - 1) // 2))
    for pair, (one, other) in enumerate(combinations(range(classes), 2)):
        weights[ends[one] : ends[one + 1], pair] = coefficients[other - 1, ends[one] : ends[one + 1]]
        weights[ends[other] : ends[other + 1], pair] = coefficients[one, ends[other] : ends[other + 1]]
    return _one_against_rest(conversion, conversion.graph.affine(kernel, weights, model.intercept_), classes)


def _one_against_rest(conversion: Conversion, decisions: Tensor, classes: int) -> Tensor:
    """Return a number for each class: its votes, and between equal votes the sum of its decisions."""
    graph = conversion.graph
    against = np.zeros((decisions.width, classes))
    for pair, (one, other) in enumerate(combinations(range(classes), 2)):
        against[pair, one], against[pair, other] = 1.0, -1.0
    won = graph.node("GreaterOrEqual", decisions.name, graph.constant([[0.0]]))
    signs = graph.numbers(won, decisions.width)
    # A decision of at least 0 is a vote for the first class of the pair, otherwise for the second.
    votes = graph.affine(signs, against, (against == -1.0).sum(axis=0).astype(np.float64))
    sums = graph.affine(decisions, against)
    size = graph.elementwise("Mul", graph.elementwise("Add", graph.unary("Abs", sums), [1.0]), [3.0])
    return graph.binary("Add", votes, graph.binary("Div", sums, size))


@converts("sklearn.KernelRidge", method="predict")
def _kernel_ridge(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    rows = np.asarray(model.X_fit_, dtype=np.float64)
    gamma = 1.0 / rows.shape[1] if model.gamma is None else float(model.gamma)
    kernel = _kernel(conversion, model, x, rows, gamma)
    return conversion.graph.affine(kernel, np.asarray(model.dual_coef_, dtype=np.float64).reshape(len(rows), -1))
