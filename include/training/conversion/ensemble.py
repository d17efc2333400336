"""Trees, forests and boosting: `sklearn.tree` and `sklearn.ensemble`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from include.training.conversion.graph import Tensor
from include.training.conversion.registry import Conversion, converts
from include.training.conversion.trees import MEMBER, Tree, TreeEnsembleNode, constant_tree

_TREES = ("DecisionTree", "ExtraTree")
_FORESTS = ("RandomForest", "ExtraTrees")
_TREE_CLASSIFIERS = tuple(f"sklearn.{each}Classifier" for each in _TREES)
_TREE_REGRESSORS = tuple(f"sklearn.{each}Regressor" for each in _TREES)


# Single trees and forests: scikit-learn rounds their rows to single precision


@converts(*_TREE_CLASSIFIERS, method="predict_proba")
def _tree_proba(conversion: Conversion, tree: Any, x: Tensor) -> Tensor:
    return _class_means(conversion, [tree], x)


@converts(*(f"sklearn.{each}Classifier" for each in _FORESTS), method="predict_proba")
def _forest_proba(conversion: Conversion, forest: Any, x: Tensor) -> Tensor:
    return _class_means(conversion, forest.estimators_, x)


@converts(*_TREE_REGRESSORS, method="predict")
def _tree_value(conversion: Conversion, tree: Any, x: Tensor) -> Tensor:
    return _value_sum(conversion, [tree], x)


@converts(*(f"sklearn.{each}Regressor" for each in _FORESTS), method="predict")
def _forest_value(conversion: Conversion, forest: Any, x: Tensor) -> Tensor:
    return _mean(conversion, _value_sum(conversion, forest.estimators_, x), len(forest.estimators_))


def _mean(conversion: Conversion, sums: Tensor, count: int) -> Tensor:
    # Divided at the end, as in scikit-learn: weights of 1/count would not add up to 1.
    return conversion.graph.elementwise("Div", sums, [float(count)]) if count > 1 else sums


def _class_means(conversion: Conversion, trees: list[Any], x: Tensor) -> Tensor:
    """Return the mean of the class shares of the leaves, each class added in the order of the trees.

    A leaf has one weight. So the trees are there once if each leaf holds one class, as in fully grown trees, and
    otherwise once for each class. The complement of the second of two classes would not do: it differs from the sum of
    the first in the last bit, which decides the label of a tie.
    """
    for tree in trees:
        _require_one_output(conversion, tree)
    shares = [tree.tree_.value[:, 0, :] for tree in trees]
    classes, node = shares[0].shape[1], TreeEnsembleNode()
    pure = all(
        (each[tree.tree_.children_left == -1].max(axis=1) == 1.0).all()
        for tree, each in zip(trees, shares, strict=True)
    )
    for tree, each in zip(trees, shares, strict=True):
        if pure:
            node.add(replace(_drawn(tree.tree_, np.ones(len(each))), target=each.argmax(axis=1)))
        else:
            for target in range(classes):
                node.add(replace(_drawn(tree.tree_, each[:, target]), target=target))
    sums = node.make(conversion.graph, conversion.graph.cast(x, "float32"), classes)
    return _mean(conversion, sums, len(trees))


def _value_sum(conversion: Conversion, trees: list[Any], x: Tensor) -> Tensor:
    node = TreeEnsembleNode()
    for tree in trees:
        _require_one_output(conversion, tree)
        node.add(_drawn(tree.tree_, tree.tree_.value[:, 0, 0]))
    return node.make(conversion.graph, conversion.graph.cast(x, "float32"), 1)


def _require_one_output(conversion: Conversion, tree: Any) -> None:
    if tree.n_outputs_ != 1:
        conversion.refuse("it was trained for several targets", "Train one model for each target.")


def _drawn(tree: Any, weight: NDArray[np.float64]) -> Tree:
    """Return a tree of `sklearn.tree` with these weights."""
    return Tree(
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold,
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        weight=np.asarray(weight, dtype=np.float64),
    )


# Gradient boosting


@converts("sklearn.GradientBoostingClassifier", method="decision_function")
def _boosting_decision(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    return _boosted(conversion, boosting, x)


@converts("sklearn.GradientBoostingClassifier", method="predict_proba")
def _boosting_proba(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    raw = _boosted(conversion, boosting, x)
    if boosting.loss == "exponential":
        raw = conversion.graph.elementwise("Mul", raw, [2.0])
    return _probabilities(conversion, raw)


@converts("sklearn.GradientBoostingRegressor", method="predict")
def _boosting_value(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    return _boosted(conversion, boosting, x)


def _boosted(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    stages = boosting.estimators_
    outputs = stages.shape[1]
    node = TreeEnsembleNode()
    for target, start in enumerate(_initial(conversion, boosting)):
        node.add(constant_tree(float(start), target))
    for stage in stages:
        for target, tree in enumerate(stage):
            weight = boosting.learning_rate * tree.tree_.value[:, 0, 0]
            node.add(replace(_drawn(tree.tree_, weight), target=target))
    return node.make(conversion.graph, conversion.graph.cast(x, "float32"), outputs)


def _initial(conversion: Conversion, boosting: Any) -> NDArray[np.float64]:
    """Return the score with which boosting begins, one for each class."""
    if not (isinstance(boosting.init_, str) or type(boosting.init_).__name__ in ("DummyClassifier", "DummyRegressor")):
        conversion.refuse("init is an estimator of its own", "Leave init out, or set init='zero'.")
    start = boosting._raw_predict_init(np.zeros((1, boosting.n_features_in_), dtype=np.float32))  # noqa: SLF001  # what predict begins with
    return np.asarray(start, dtype=np.float64).ravel()


_HISTOGRAM_CLASSIFIER = "sklearn.HistGradientBoostingClassifier"
_HISTOGRAM_REGRESSOR = "sklearn.HistGradientBoostingRegressor"


@converts(_HISTOGRAM_CLASSIFIER, method="decision_function")
def _histogram_decision(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    return _histogram(conversion, boosting, x)


@converts(_HISTOGRAM_CLASSIFIER, method="predict_proba")
def _histogram_proba(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    return _probabilities(conversion, _histogram(conversion, boosting, x))


@converts(_HISTOGRAM_REGRESSOR, method="predict")
def _histogram_value(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    raw = _histogram(conversion, boosting, x)
    return conversion.graph.exp(raw) if boosting.loss in ("poisson", "gamma") else raw


def _histogram(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    if boosting._preprocessor is not None:  # noqa: SLF001  # puts categories first, as codes
        x = conversion.transform(boosting._preprocessor, x, "categorical_features")  # noqa: SLF001
    node = TreeEnsembleNode()
    baseline = np.asarray(boosting._baseline_prediction, dtype=np.float64).ravel()  # noqa: SLF001
    for target, start in enumerate(baseline):
        node.add(constant_tree(float(start), target))
    categories = _known_categories(boosting)
    for stage in boosting._predictors:  # noqa: SLF001
        for target, predictor in enumerate(stage):
            node.add(replace(_drawn_histogram(predictor, categories), target=target))
    return node.make(conversion.graph, x, len(baseline))


def _known_categories(boosting: Any) -> dict[int, NDArray[np.float64]]:
    """Return each categorical column's codes that occurred in the training rows."""
    if boosting.is_categorical_ is None:
        return {}
    known = boosting._bin_mapper.bin_thresholds_  # noqa: SLF001  # of a categorical column: its categories
    first = boosting._is_categorical_remapped  # noqa: SLF001  # in the order in which the trees get the columns
    return {int(each): np.asarray(known[each]) for each in np.flatnonzero(first)}


def _drawn_histogram(predictor: Any, categories: dict[int, NDArray[np.float64]]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(np.bool_)
    left = np.where(leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(leaf, -1, nodes["right"].astype(np.int64))
    missing_left = nodes["missing_go_to_left"].astype(np.bool_)
    mode = np.zeros(len(nodes), dtype=np.int64)
    members: dict[int, tuple[float, ...]] = {}
    for each in np.flatnonzero(nodes["is_categorical"].astype(np.bool_) & ~leaf):
        mode[each] = MEMBER
        bits = predictor.raw_left_cat_bitsets[int(nodes["bitset_idx"][each])]
        known = categories[int(nodes["feature_idx"][each])]
        to_left = np.array([bool(bits[int(code) // 32] >> np.uint32(int(code) % 32) & 1) for code in known])
        if missing_left[each]:
            # A null and an unknown category go to the left: so compare with the categories that go to the right.
            left[each], right[each] = right[each], left[each]
            to_left, missing_left[each] = ~to_left, False
        members[int(each)] = tuple(known[to_left].tolist())
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=left,
        right=right,
        missing_left=missing_left,
        weight=nodes["value"].astype(np.float64),
        mode=mode,
        members=members,
    )


def _probabilities(conversion: Conversion, raw: Tensor) -> Tensor:
    """Return the probabilities of a log-loss: of two classes by the sigmoid, of more by the softmax."""
    graph = conversion.graph
    return graph.of_two_classes(raw) if raw.width == 1 else graph.softmax(raw)


# AdaBoost and bagging


@converts("sklearn.AdaBoostClassifier", method="decision_function")
def _ada_decision(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    votes = _ada_votes(conversion, boosting, x)
    if boosting.n_classes_ > 2:
        return votes
    return conversion.graph.affine(votes, np.array([[-1.0], [1.0]]))


@converts("sklearn.AdaBoostClassifier", method="predict_proba")
def _ada_proba(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    graph, decision = conversion.graph, _ada_decision(conversion, boosting, x)
    if boosting.n_classes_ == 2:
        return graph.softmax(graph.affine(decision, np.array([[-0.5, 0.5]])))
    return graph.softmax(graph.elementwise("Div", decision, [boosting.n_classes_ - 1.0]))


def _ada_votes(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    """Add up the weights of the estimators for and against each class (SAMME)."""
    classes, total = boosting.n_classes_, float(boosting.estimator_weights_.sum())
    if any(f"sklearn.{type(each).__name__}" not in _TREE_CLASSIFIERS for each in boosting.estimators_):
        return conversion.graph.elementwise("Div", _votes_of_any(conversion, boosting, x), [total])
    node = TreeEnsembleNode()
    for tree, weight in zip(boosting.estimators_, boosting.estimator_weights_, strict=False):
        chosen = np.searchsorted(boosting.classes_, tree.classes_)[tree.tree_.value[:, 0, :].argmax(axis=1)]
        for target in range(classes):
            node.add(
                replace(
                    _drawn(tree.tree_, np.where(chosen == target, weight, -1 / (classes - 1) * weight)), target=target
                )
            )
    votes = node.make(conversion.graph, conversion.graph.cast(x, "float32"), classes)
    return conversion.graph.elementwise("Div", votes, [total])


def _votes_of_any(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    graph, votes, classes = conversion.graph, None, boosting.n_classes_
    positions = graph.constant(np.arange(classes).reshape(1, -1), "int64")
    for number, (estimator, weight) in enumerate(zip(boosting.estimators_, boosting.estimator_weights_, strict=False)):
        found = conversion.predict_proba(estimator, x, f"estimators_[{number}]")
        chosen = graph.node("ArgMax", found.name, axis=1, keepdims=1)
        vote = graph.node(
            "Where",
            graph.node("Equal", chosen, positions),
            graph.constant([[weight]]),
            graph.constant([[-1 / (classes - 1) * weight]]),
        )
        each = Tensor(vote, classes, "float64")
        votes = each if votes is None else graph.binary("Add", votes, each)
    if votes is None:
        conversion.refuse("it holds no estimators", "Set n_estimators to at least 1.")
    return votes


@converts("sklearn.AdaBoostRegressor", method="predict")
def _ada_value(conversion: Conversion, boosting: Any, x: Tensor) -> Tensor:
    """Return the weighted median of the trees' answers."""
    graph, trees = conversion.graph, boosting.estimators_
    if any(f"sklearn.{type(each).__name__}" not in _TREE_REGRESSORS for each in trees):
        conversion.refuse("its estimators are not trees", "Leave estimator out, or use a DecisionTreeRegressor.")
    node = TreeEnsembleNode()
    for target, tree in enumerate(trees):
        node.add(replace(_drawn(tree.tree_, tree.tree_.value[:, 0, 0]), target=target))
    answers = node.make(graph, graph.cast(x, "float32"), len(trees))
    count = graph.constant([len(trees)], "int64")
    ascending, order = graph.name("topk"), graph.name("topk")
    graph.nodes.append(helper.make_node("TopK", [answers.name, count], [ascending, order], axis=1, largest=0, sorted=1))
    weights = graph.constant(np.asarray(boosting.estimator_weights_, dtype=np.float64)[: len(trees)])
    reached = graph.node("CumSum", graph.node("Gather", weights, order, axis=0), graph.constant(1, "int64"))
    whole = graph.node("Gather", reached, graph.constant([len(trees) - 1], "int64"), axis=1)
    above = graph.node("GreaterOrEqual", reached, graph.node("Mul", whole, graph.constant([[0.5]])))
    first = graph.node("ArgMax", graph.node("Cast", above, to=TensorProto.INT64), axis=1, keepdims=1)
    return Tensor(graph.node("GatherElements", ascending, first, axis=1), 1, "float64")


@converts("sklearn.BaggingClassifier", method="predict_proba")
def _bagging_proba(conversion: Conversion, bagging: Any, x: Tensor) -> Tensor:
    return _bagged(conversion, bagging, x, "predict_proba")


@converts("sklearn.BaggingRegressor", method="predict")
def _bagging_value(conversion: Conversion, bagging: Any, x: Tensor) -> Tensor:
    return _bagged(conversion, bagging, x, "predict")


def _bagged(conversion: Conversion, bagging: Any, x: Tensor, method: str) -> Tensor:
    graph, total = conversion.graph, None
    for position, (estimator, columns) in enumerate(
        zip(bagging.estimators_, bagging.estimators_features_, strict=True)
    ):
        name = f"estimators_[{position}]"
        if method == "predict_proba" and not hasattr(estimator, "predict_proba"):
            conversion.refuse(
                "its estimators have no predict_proba, so that it counts their votes",
                "Use an estimator with probabilities in it.",
            )
        if method == "predict_proba" and len(estimator.classes_) != bagging.n_classes_:
            conversion.refuse(f"{name} was fitted without one of the classes", "Use more rows, or set max_samples=1.0.")
        found = getattr(conversion, method)(estimator, graph.columns(x, columns), name)
        found = graph.cast(found, "float64")
        total = found if total is None else graph.binary("Add", total, found)
    if total is None:
        conversion.refuse("it holds no estimators", "Set n_estimators to at least 1.")
    return _mean(conversion, total, len(bagging.estimators_))
