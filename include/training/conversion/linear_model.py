"""Models that are a product of matrices and a link: linear models, discriminant analysis, naive Bayes, perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.training.conversion.graph import Graph, Tensor
from include.training.conversion.registry import Conversion, converts
from include.training.conversion.trees import TreeEnsembleNode, constant_tree

_REGRESSORS = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "LinearSVR",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
)
_CLASSIFIERS = (
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
)


@converts(*(f"sklearn.{each}" for each in _REGRESSORS), method="predict")
def _linear_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    return _product(conversion, model, x)


@converts(*(f"sklearn.{each}" for each in _CLASSIFIERS), method="decision_function")
def _linear_decision(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    return _product(conversion, model, x)


def _product(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph = conversion.graph
    if np.result_type(x.dtype, model.coef_.dtype) == np.float64:  # numpy makes the row double, too
        x = graph.cast(x, "float64")
    return graph.affine(x, _columns_of(model.coef_), model.intercept_)


def _columns_of(coefficients: Any) -> NDArray[np.float64]:
    dense = coefficients.toarray() if hasattr(coefficients, "toarray") else coefficients
    return np.atleast_2d(np.asarray(dense, dtype=np.float64)).T


@converts(
    "sklearn.LinearDiscriminantAnalysis",
    "sklearn.LogisticRegression",
    "sklearn.LogisticRegressionCV",
    method="predict_proba",
)
def _logistic_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, decision = conversion.graph, _linear_decision(conversion, model, x)
    return graph.of_two_classes(decision) if decision.width == 1 else graph.softmax(decision)


@converts("sklearn.LinearDiscriminantAnalysis", method="transform")
def _discriminants(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    scalings = np.asarray(model.scalings_, dtype=np.float64)[:, : model._max_components]  # noqa: SLF001  # as its transform
    offset = 0.0 if model.solver == "eigen" else -np.asarray(model.xbar_, dtype=np.float64).reshape(1, -1) @ scalings
    return conversion.graph.cast(conversion.graph.affine(x, scalings, offset), x.dtype)


@converts("sklearn.SGDClassifier", method="predict_proba")
def _sgd_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, decision = conversion.graph, _linear_decision(conversion, model, x)
    if model.loss == "log_loss":
        each = graph.sigmoid(decision)
    else:  # modified_huber: (clip(decision, -1, 1) + 1) / 2
        low, high = graph.constant(-1.0), graph.constant(1.0)
        clipped = Tensor(graph.node("Clip", decision.name, low, high), decision.width, "float64")
        each = graph.elementwise("Div", graph.elementwise("Add", clipped, [1.0]), [2.0])
    return graph.with_complement(each) if each.width == 1 else sum_to_one(graph, each)


def sum_to_one(graph: Graph, x: Tensor) -> Tensor:
    """Divide each row by its sum; a row of zeros becomes uniform."""
    total = graph.row_sum(x)
    none = graph.node("Equal", total.name, graph.constant([[0.0]]))
    filled = graph.where(none, x, np.ones(x.width))
    return graph.divided_by_sum(filled)


@converts("sklearn.PoissonRegressor", "sklearn.GammaRegressor", "sklearn.TweedieRegressor", method="predict")
def _generalized_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    raw = _linear_value(conversion, model, x)
    logarithmic = type(model).__name__ != "TweedieRegressor" or (
        model.link == "log" or (model.link == "auto" and model.power > 0)
    )
    return conversion.graph.exp(raw) if logarithmic else raw


@converts("sklearn.PLSRegression", "sklearn.PLSCanonical", "sklearn.CCA", method="predict")
def _pls_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    centred = conversion.graph.elementwise("Sub", conversion.graph.cast(x, "float64"), model._x_mean)  # noqa: SLF001
    return conversion.graph.affine(centred, _columns_of(model.coef_), model.intercept_)


@converts("sklearn.QuadraticDiscriminantAnalysis", method="predict_proba")
def _quadratic_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, wide = conversion.graph, conversion.graph.cast(x, "float64")
    norms = []
    for mean, rotation, scaling in zip(model.means_, model.rotations_, model.scalings_, strict=True):
        turned = graph.affine(graph.elementwise("Sub", wide, mean), rotation * scaling**-0.5)
        norms.append(graph.row_sum(graph.binary("Mul", turned, turned)))
    offset = np.log(model.priors_) - 0.5 * np.array([np.log(each).sum() for each in model.scalings_])
    scores = graph.elementwise("Mul", graph.concat(norms), [-0.5])
    graph.as_inexact(scores, x.dtype)
    return graph.softmax(graph.elementwise("Add", scores, offset))


# Naive Bayes


@converts("sklearn.GaussianNB", method="predict_proba")
def _gaussian_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, wide = conversion.graph, conversion.graph.cast(x, "float64")
    sums = []
    for mean, variance in zip(model.theta_, model.var_, strict=True):
        centred = graph.elementwise("Sub", wide, mean)
        squared = graph.binary("Mul", centred, centred)
        sums.append(graph.row_sum(graph.elementwise("Div", squared, variance)))
    offset = np.log(model.class_prior_) - 0.5 * np.log(2 * np.pi * model.var_).sum(axis=1)
    scores = graph.elementwise("Mul", graph.concat(sums), [-0.5])
    graph.as_inexact(scores, x.dtype)
    return graph.softmax(graph.elementwise("Add", scores, offset))


@converts("sklearn.MultinomialNB", "sklearn.ComplementNB", "sklearn.BernoulliNB", method="predict_proba")
def _discrete_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, weights, offset = conversion.graph, model.feature_log_prob_, model.class_log_prior_
    if type(model).__name__ == "ComplementNB":
        offset = 0.0
    if type(model).__name__ == "BernoulliNB":
        if model.binarize is not None:
            above = graph.node("Greater", graph.cast(x, "float64").name, graph.constant([[model.binarize]]))
            x = graph.numbers(above, x.width)
        absent = np.log(1 - np.exp(weights))
        weights, offset = weights - absent, offset + absent.sum(axis=1)
    return graph.softmax(graph.affine(x, weights.T, offset))


# Perceptrons


@converts("sklearn.MLPClassifier", method="predict_proba")
def _perceptron_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    found = _layers(conversion, model, x)
    return conversion.graph.with_complement(found) if found.width == 1 else found


@converts("sklearn.MLPRegressor", method="predict")
def _perceptron_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    return _layers(conversion, model, x)


def _layers(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, last = conversion.graph, len(model.coefs_) - 1
    for position, (weights, offset) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        x = _activated(
            conversion,
            graph.affine(x, weights, offset),
            model.out_activation_ if position == last else model.activation,
        )
    return x


def _activated(conversion: Conversion, x: Tensor, function: str) -> Tensor:
    graph = conversion.graph
    match function:
        case "identity":
            return x
        case "relu":
            return graph.unary("Relu", x)
        case "logistic":
            return graph.sigmoid(x)
        case "softmax":
            return graph.softmax(x)
        case "tanh":  # 2 / (1 + exp(-2x)) - 1
            twice = graph.sigmoid(graph.elementwise("Mul", x, [2.0]))
            return graph.elementwise("Sub", graph.elementwise("Mul", twice, [2.0]), [1.0])
    return conversion.refuse(f"the activation '{function}' has no converter", "Use relu, tanh, logistic or identity.")


# Models that ignore the row


@converts("sklearn.DummyClassifier", method="predict_proba")
def _dummy_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    if model.strategy in ("stratified", "uniform"):
        conversion.refuse(f"strategy='{model.strategy}' predicts at random", "Use strategy='prior'.")
    return _always(conversion, model.predict_proba(np.zeros((1, x.width)))[0])


@converts("sklearn.DummyRegressor", method="predict")
def _dummy_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:  # noqa: ARG001  # it ignores the row
    return _always(conversion, np.ravel(model.constant_)[:1])


def _always(conversion: Conversion, answer: NDArray[np.float64]) -> Tensor:
    node = TreeEnsembleNode()
    for target, value in enumerate(answer):
        node.add(constant_tree(float(value), target))
    return node.make(conversion.graph, conversion.graph.input, len(answer))
