"""XGBoost, LightGBM and CatBoost: each library's own model file becomes trees, without importing the library.

XGBoost compares and adds in single precision, LightGBM in double; CatBoost compares in single and adds in double. So
do these graphs. What has no faithful form is refused by name.

Sources
-------
XGBoost's model file: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
LightGBM's decisions: include/LightGBM/tree.h of its repository, `NumericalDecision` and `CategoricalDecision`
CatBoost's model file: https://catboost.ai/docs/en/concepts/python-reference_catboost_save_model (format="json")
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.training.conversion.graph import Tensor
from include.training.conversion.registry import Conversion, converts
from include.training.conversion.trees import LESS, LESS_OR_EQUAL, MEMBER, Tree, TreeEnsembleNode, constant_tree

_Link = Literal["identity", "sigmoid", "softmax", "exp", "signed square"]


def _linked(conversion: Conversion, link: _Link, raw: Tensor) -> Tensor:
    """Return what a library makes of the sums of its trees; double."""
    graph = conversion.graph
    match link:
        case "sigmoid":
            return graph.sigmoid(raw)
        case "softmax":
            return graph.softmax(raw)
        case "exp":
            return graph.exp(raw)
        case "signed square":
            return graph.binary("Mul", raw, graph.unary("Abs", raw))
    return graph.cast(raw, "float64")


def _link_of(conversion: Conversion, links: dict[str, _Link], objective: str, kind: str) -> _Link:
    if objective not in links:
        conversion.refuse(
            f"its objective '{objective}' has no converter for {kind}", f"Use one of: {', '.join(sorted(links))}."
        )
    return links[objective]


_converts = partial(
    converts,
    failure="its model file is not as expected",
    advice="Install the versions of deploy/extras/boosters/requirements.txt.",
)


@converts("xgboost.XGBRanker", "lightgbm.LGBMRanker", "catboost.CatBoostRanker", method="predict")
def _ranker(conversion: Conversion, _model: Any, _x: Tensor) -> Tensor:
    return conversion.refuse(
        "its answers order the rows of a query and mean nothing for one row", "Use the regressor of the same library."
    )


# XGBoost

_XGBOOST_PROBABILITIES: Final[dict[str, _Link]] = {
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
}
_XGBOOST_VALUES: Final[dict[str, _Link]] = {
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:expectileerror": "identity",
    "reg:logistic": "sigmoid",
    "binary:logistic": "sigmoid",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}


@_converts("xgboost.XGBClassifier", method="predict_proba")
def _xgboost_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, booster = conversion.graph, _XGBooster.read(conversion, model)
    link = _link_of(conversion, _XGBOOST_PROBABILITIES, booster.objective, "probabilities")
    if link == "softmax" and model.n_classes_ == 2:
        conversion.refuse("of two classes its predict answers a matrix", "Use objective='binary:logistic'.")
    found = _xgboost_linked(conversion, link, _xgboost_margin(conversion, booster, x))
    return found if link == "softmax" else graph.with_complement(graph.cast(found, "float64"))


@_converts("xgboost.XGBRegressor", method="predict")
def _xgboost_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    booster = _XGBooster.read(conversion, model)
    link = _link_of(conversion, _XGBOOST_VALUES, booster.objective, "values")
    if booster.outputs != 1:
        conversion.refuse(f"it answers {booster.outputs} values for a row", "Train one model for each target.")
    return _xgboost_linked(conversion, link, _xgboost_margin(conversion, booster, x))


def _xgboost_linked(conversion: Conversion, link: _Link, margin: Tensor) -> Tensor:
    """Return what XGBoost makes of the sums, in single precision; only the exponential is rounded from double.

    What follows can depend on the last bit: two classes that tie, an isotonic calibration that is steep.
    """
    graph = conversion.graph

    def exp(x: Tensor) -> Tensor:
        return graph.cast(graph.exp(x), "float32")

    if link == "exp":
        return exp(margin)
    if link == "sigmoid":
        limited = graph.node("Min", graph.unary("Neg", margin).name, graph.constant([[88.7]], "float32"))
        one = graph.constant([[1.0]], "float32")
        whole = graph.node("Add", exp(Tensor(limited, margin.width, "float32")).name, one)
        return Tensor(graph.node("Div", one, whole), margin.width, "float32")
    if link == "softmax":
        highest = graph.node("ReduceMax", margin.name, graph.constant([1], "int64"), keepdims=1)
        powers = exp(Tensor(graph.node("Sub", margin.name, highest), margin.width, "float32"))
        return graph.binary("Div", powers, graph.cast(graph.row_sum(powers), "float32"))
    return margin


@dataclass(frozen=True, slots=True)
class _XGBooster:
    """A booster's model file.

    Parameters
    ----------
    missing : float
        The value that stands for a null, beside NaN.
    start : ndarray of float32, shape (n_outputs,)
        What a sum begins with: the base score as a margin.
    last : int or None
        How many rounds predict; None: all.
    """

    objective: str
    missing: float
    start: NDArray[np.float32]
    kind: str
    learner: dict[str, Any]
    last: int | None

    @classmethod
    def read(cls, conversion: Conversion, model: Any) -> _XGBooster:
        booster = model.get_booster()
        learner = json.loads(bytes(booster.save_raw("json")))["learner"]
        kind = learner["gradient_booster"]["name"]
        best = learner["attributes"].get("best_iteration")
        found = cls(
            objective=learner["objective"]["name"] if not callable(model.objective) else "a function of your own",
            missing=float(model.missing),
            start=_xgboost_start(booster, kind),
            kind=kind,
            learner=learner,
            last=None if best is None or kind == "gblinear" else int(best) + 1,
        )
        if kind != "gblinear":
            found.require_plain_trees(conversion)
        return found

    @property
    def outputs(self) -> int:
        """The number of sums for a row."""
        return len(self.start)

    @property
    def _forest(self) -> dict[str, Any]:
        booster = self.learner["gradient_booster"]
        forest: dict[str, Any] = (booster["gbtree"] if self.kind == "dart" else booster)["model"]
        return forest

    @property
    def linear_weights(self) -> NDArray[np.float32]:
        """The weights of ``booster='gblinear'``, shape (n_features + 1, n_outputs); the last row is the bias."""
        return np.asarray(self._forest["weights"], dtype=np.float32).reshape(-1, self.outputs)

    def require_plain_trees(self, conversion: Conversion) -> None:
        """Refuse trees whose leaves hold vectors, and categories that XGBoost took from a data frame."""
        if not self._forest["trees"]:
            conversion.refuse("it has no trees", "Set n_estimators to at least 1.")
        if any(int(tree["tree_param"].get("size_leaf_vector") or 1) > 1 for tree in self._forest["trees"]):
            conversion.refuse("its leaves hold a vector", "Set multi_strategy='one_output_per_tree'.")
        if self._forest.get("cats", {}).get("enc"):
            conversion.refuse(
                "it was fitted on a data frame with categories, which it encodes again",
                "Fit it on the matrix, with enable_categorical=True and feature_types.",
            )

    def trees(self) -> Iterator[Tree]:
        """Yield the trees that predict, in their order."""
        forest = self._forest
        trees, targets = forest["trees"], forest["tree_info"]
        count = len(trees)
        if self.last is not None:
            ends = forest.get("iteration_indptr")
            each = max(1, int(forest["gbtree_model_param"].get("num_parallel_tree") or 1)) * self.outputs
            count = ends[self.last] if ends else self.last * each
        for position in range(count):
            tree = _xgboost_tree(trees[position], int(targets[position]))
            yield self._dropped_out(tree, position)

    def _dropped_out(self, tree: Tree, position: int) -> Tree:
        """Return a tree of DART with its weight, rounded as XGBoost rounds; any other as it is."""
        before, since = self.learner["gradient_booster"].get("weight_drop"), self._forest.get("weight_drop")
        leaves = tree.weight.astype(np.float32)
        if before:  # up to version 3.2: the start is added to a leaf and taken off again
            start = self.start[int(tree.target)]
            leaves = ((leaves + start) - start) * np.float32(before[position])
        elif since:
            leaves = leaves * np.float32(since[position])
        return replace(tree, weight=leaves.astype(np.float64))


def _xgboost_start(booster: Any, kind: str) -> NDArray[np.float32]:
    """Return the base score as a margin.

    By asking the library: the same booster, whose leaves and weights are zero, answers nothing else. How a base score
    is written and turned into a margin differs between its versions.
    """
    first = booster if kind == "gblinear" or not booster.num_boosted_rounds() else booster[0:1]
    document = json.loads(bytes(first.save_raw("json")))
    inner = document["learner"]["gradient_booster"]
    forest = inner.get("gbtree", inner)["model"]
    for tree in forest.get("trees", ()):
        tree["split_conditions"] = [
            0.0 if left == -1 else split
            for left, split in zip(tree["left_children"], tree["split_conditions"], strict=True)
        ]
    if "weights" in forest:
        forest["weights"] = [0.0] * len(forest["weights"])
    blank = type(booster)()
    blank.load_model(bytearray(json.dumps(document).encode()))
    data = importlib.import_module("xgboost").DMatrix(np.zeros((1, blank.num_features()), dtype=np.float32))
    return np.asarray(blank.predict(data, output_margin=True, validate_features=False), dtype=np.float32).reshape(-1)


def _xgboost_tree(tree: dict[str, Any], target: int) -> Tree:
    left = np.asarray(tree["left_children"], dtype=np.int64)
    right = np.asarray(tree["right_children"], dtype=np.int64)
    split = np.asarray(tree["split_conditions"], dtype=np.float32)
    missing_left = np.asarray(tree["default_left"], dtype=np.bool_)
    mode = np.full(len(left), LESS, dtype=np.int64)
    members: dict[int, tuple[float, ...]] = {}
    for node, start, size in zip(
        tree.get("categories_nodes", ()),
        tree.get("categories_segments", ()),
        tree.get("categories_sizes", ()),
        strict=True,
    ):
        # The categories listed go to the right, every other value to the left.
        mode[node], members[node] = MEMBER, tuple(float(each) for each in tree["categories"][start : start + size])
        left[node], right[node], missing_left[node] = right[node], left[node], not missing_left[node]
    return _reachable(
        Tree(
            feature=np.asarray(tree["split_indices"], dtype=np.int64),
            threshold=split.astype(np.float64),
            left=left,
            right=right,
            missing_left=missing_left,
            weight=split.astype(np.float64),
            target=target,
            mode=mode,
            members=members,
        )
    )


def _reachable(tree: Tree) -> Tree:
    """Return the tree without nodes that were pruned, which XGBoost keeps in its files."""
    kept, waiting = np.zeros(len(tree.left), dtype=np.bool_), [0]
    while waiting:
        node = waiting.pop()
        kept[node] = True
        if tree.left[node] != -1:
            waiting += [int(tree.left[node]), int(tree.right[node])]
    if kept.all():
        return tree
    number = np.append(np.cumsum(kept) - 1, -1)  # the last place is that of "no child"
    return replace(
        tree,
        feature=tree.feature[kept],
        threshold=tree.threshold[kept],
        left=number[tree.left[kept]],
        right=number[tree.right[kept]],
        missing_left=tree.missing_left[kept],
        weight=tree.weight[kept],
        mode=np.asarray(tree.mode)[kept],
        members={int(number[node]): values for node, values in tree.members.items() if kept[node]},
    )


def _xgboost_margin(conversion: Conversion, booster: _XGBooster, x: Tensor) -> Tensor:
    graph, x = conversion.graph, conversion.graph.cast(x, "float32")
    absent = ({booster.missing} if not np.isnan(booster.missing) else set()) | ({0.0} if x.sparse else set())
    for value in sorted(absent):
        same = graph.node("Equal", x.name, graph.constant([[value]], "float32"))
        x = graph.where(same, x, np.full(x.width, np.nan))
    if booster.kind == "gblinear":
        return _xgboost_linear(conversion, booster, x)
    node = TreeEnsembleNode("float32")
    for target, start in enumerate(booster.start):
        node.add(constant_tree(float(start), target))
    for tree in booster.trees():
        node.add(tree)
    return node.make(graph, x, booster.outputs)


def _xgboost_linear(conversion: Conversion, booster: _XGBooster, x: Tensor) -> Tensor:
    """Add weight times value, feature by feature in single precision; a null adds nothing."""
    graph, weights = conversion.graph, booster.linear_weights
    filled = graph.where(graph.is_nan(x), x, np.zeros(x.width))
    columns = []
    for target in range(booster.outputs):
        products = graph.node("Mul", filled.name, graph.constant([weights[:-1, target]], "float32"))
        bias = graph.constant([[weights[-1, target] + booster.start[target]]], "float32")
        first = graph.node(
            "Add", graph.node("Mul", graph.columns(filled, [0]).name, graph.constant([[0.0]], "float32")), bias
        )
        running = graph.node("CumSum", graph.node("Concat", first, products, axis=1), graph.constant(1, "int64"))
        columns.append(graph.columns(Tensor(running, x.width + 1, "float32"), [x.width]))
    return graph.concat(columns)


# LightGBM

_LIGHTGBM_PROBABILITIES: Final[dict[str, _Link]] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclass": "softmax",
}
_LIGHTGBM_VALUES: Final[dict[str, _Link]] = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("binary", "cross_entropy"), "sigmoid"),
}
_ZERO: Final = float(np.float32(1e-35))
"""LightGBM takes values up to this for zero."""
_NONE, _ZEROS, _NANS = 0, 1, 2
"""What LightGBM takes for missing at a split."""


@_converts("lightgbm.LGBMClassifier", method="predict_proba")
def _lightgbm_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, booster = conversion.graph, _LightBooster.read(conversion, model)
    if booster.objective == "multiclassova":
        conversion.refuse(
            "the probabilities of objective='multiclassova' do not add up to 1", "Use objective='multiclass'."
        )
    link = _link_of(conversion, _LIGHTGBM_PROBABILITIES, booster.objective, "probabilities")
    found = _linked(conversion, link, _lightgbm_raw(conversion, booster, x))
    return found if link == "softmax" else graph.with_complement(found)


@_converts("lightgbm.LGBMClassifier", method="decision_function")
def _lightgbm_decision(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    """Return the sums themselves, which no objective has changed; since version 4.7 of LightGBM."""
    return _lightgbm_sums(conversion, _LightBooster.read(conversion, model), x)


@_converts("lightgbm.LGBMRegressor", method="predict")
def _lightgbm_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    booster = _LightBooster.read(conversion, model)
    link = _link_of(conversion, _LIGHTGBM_VALUES, booster.objective, "values")
    if "sqrt" in booster.options:
        link = "signed square"
    return _linked(conversion, link, _lightgbm_raw(conversion, booster, x))


@dataclass(frozen=True, slots=True)
class _LightBooster:
    """A booster's model file, in blocks of ``name=value``: a head, then a block for each tree.

    Parameters
    ----------
    options : dict of str to str
        The parameters of the objective; a word without a value has the value "".
    """

    objective: str
    options: dict[str, str]
    head: dict[str, str]
    blocks: list[dict[str, str]]

    @classmethod
    def read(cls, conversion: Conversion, model: Any) -> _LightBooster:
        if model.get_params().get("pred_early_stop"):
            conversion.refuse("it stops some rows before the last tree", "Leave pred_early_stop out.")
        text = model.booster_.model_to_string()
        body, _, after = text.partition("\nend of trees")
        head, *blocks = (_lightgbm_block(each) for each in body.split("\nTree="))
        _, _, frame_categories = after.partition("pandas_categorical:")
        if frame_categories.strip() not in ("", "null", "[]"):
            conversion.refuse(
                "it was fitted on a data frame with categories, which it encodes again",
                "Fit it on the matrix, with categorical_feature.",
            )
        if any(each.get("is_linear", "0") != "0" for each in blocks):
            conversion.refuse("its leaves hold linear models", "Leave linear_tree out.")
        if callable(model.objective):
            return cls("a function of your own", {}, head, blocks)
        objective, *words = head.get("objective", "none").split()
        return cls(objective, {name: value for name, _, value in (each.partition(":") for each in words)}, head, blocks)

    @property
    def outputs(self) -> int:
        """The number of sums for a row."""
        return int(self.head["num_tree_per_iteration"])


def _lightgbm_block(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in lines if equals or name == "average_output"}


def _lightgbm_tree(block: dict[str, str], target: int) -> tuple[Tree, NDArray[np.int64]]:
    """Return a tree, and what each node takes for missing (-1: a leaf, or a split by categories)."""

    def numbers(name: str, dtype: type = np.int64) -> NDArray[Any]:
        return np.array(block.get(name, "").split(), dtype=dtype)

    weights = numbers("leaf_value", np.float64)
    feature = numbers("split_feature")
    splits, leaves = len(feature), len(weights)
    if splits == 0:
        return constant_tree(float(weights[0]), target), np.full(1, -1)
    decision = numbers("decision_type")
    threshold = numbers("threshold", np.float64)
    by_category = (decision & 1).astype(np.bool_)
    # Values up to 1e-35 are zero, also where a threshold lies at 1e-35.
    threshold = np.where((threshold >= -_ZERO) & (threshold < 0.0), np.nextafter(-_ZERO, -np.inf), threshold)
    threshold = np.where((threshold >= 0.0) & (threshold < _ZERO) & ~by_category, _ZERO, threshold)
    missing = np.where(by_category, -1, decision >> 2 & 3)
    to_left = (decision & 2).astype(np.bool_)
    to_left = np.where(missing == _NONE, threshold >= 0.0, to_left) & ~by_category  # without nulls, NaN counts as 0
    bounds, words = numbers("cat_boundaries"), numbers("cat_threshold")
    members = {
        int(node): tuple(
            float(code)
            for code in range(32 * int(bounds[at + 1] - bounds[at]))
            if int(words[bounds[at] + code // 32]) >> code % 32 & 1
        )
        for node, at in ((each, int(threshold[each])) for each in np.flatnonzero(by_category))
    }

    def padded(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, np.zeros(leaves, dtype=values.dtype)])

    def children(name: str) -> NDArray[np.int64]:
        child = numbers(name)
        return np.concatenate([np.where(child < 0, splits + ~child, child), np.full(leaves, -1)])

    tree = Tree(
        feature=padded(feature),
        threshold=padded(threshold),
        left=children("left_child"),
        right=children("right_child"),
        missing_left=padded(to_left),
        weight=np.concatenate([np.zeros(splits), weights]),
        target=target,
        mode=padded(np.where(by_category, MEMBER, LESS_OR_EQUAL)),
        members=members,
    )
    return tree, np.concatenate([missing, np.full(leaves, -1)])


def _lightgbm_sums(conversion: Conversion, booster: _LightBooster, x: Tensor) -> Tensor:
    graph, node, kinds = conversion.graph, TreeEnsembleNode(), defaultdict[int, set[int]](set)
    for position, block in enumerate(booster.blocks):
        tree, missing = _lightgbm_tree(block, position % booster.outputs)
        node.add(tree)
        for feature, kind in set(zip(tree.feature.tolist(), missing.tolist(), strict=True)):
            kinds[feature].add(kind)
    return node.make(graph, _lightgbm_nulls(conversion, kinds, x), booster.outputs)


def _lightgbm_raw(conversion: Conversion, booster: _LightBooster, x: Tensor) -> Tensor:
    """Return what the objective is applied to."""
    graph, sums = conversion.graph, _lightgbm_sums(conversion, booster, x)
    if "average_output" in booster.head:
        sums = graph.elementwise("Div", sums, [len(booster.blocks) / booster.outputs])
    steepness = float(booster.options.get("sigmoid", 1.0))
    return sums if steepness == 1.0 else graph.elementwise("Mul", sums, [steepness])


def _lightgbm_nulls(conversion: Conversion, kinds: dict[int, set[int]], x: Tensor) -> Tensor:
    """Put a null wherever a feature's splits take zero for missing."""
    zeros = [feature for feature, found in kinds.items() if _ZEROS in found]
    if not zeros:
        return x
    if any(kinds[feature] & {_NONE, _NANS} for feature in zeros):
        conversion.refuse("it takes zero for missing in some trees only", "Train it at once, without init_model.")
    graph, limit = conversion.graph, np.full(x.width, -1.0)
    limit[zeros] = _ZERO
    size = graph.unary("Abs", x)
    small = graph.node("LessOrEqual", size.name, graph.constant([limit], x.dtype))
    return graph.where(small, x, np.full(x.width, np.nan))


# CatBoost

_CATBOOST_PROBABILITIES: Final[dict[str, _Link]] = {
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax",
}
_LAST_BITS: Final = 2.0**-51
_CATBOOST_VALUES: Final[dict[str, _Link]] = {
    **dict.fromkeys(
        ("RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh", "Expectile", "Lq", "LogLinQuantile"), "identity"
    ),
    **dict.fromkeys(("Poisson", "Tweedie"), "exp"),
}


@_converts("catboost.CatBoostClassifier", method="predict_proba")
def _catboost_proba(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    graph, document = conversion.graph, _catboost_document(conversion, model)
    objective = _catboost_objective(document)
    if objective == "MultiClassOneVsAll":
        conversion.refuse(
            "the probabilities of MultiClassOneVsAll do not add up to 1", "Use loss_function='MultiClass'."
        )
    link = _link_of(conversion, _CATBOOST_PROBABILITIES, objective, "probabilities")
    raw = _catboost_sums(conversion, document, x)
    found = _ordered_as(conversion, _linked(conversion, link, raw), raw)
    return found if link == "softmax" else graph.with_complement(found)


def _ordered_as(conversion: Conversion, probability: Tensor, raw: Tensor) -> Tensor:
    """Return the probabilities, unequal where the sums are.

    CatBoost predicts the class of the largest sum. Sums that differ in their last bits can have equal probabilities.
    """
    graph = conversion.graph
    if raw.width == 1:
        positive = graph.node("Greater", raw.name, graph.constant([[0.0]]))
        raised = graph.node("Max", probability.name, graph.constant([[0.5 + _LAST_BITS]]))
        return replace(probability, name=graph.node("Where", positive, raised, probability.name))
    axis = graph.constant([1], "int64")
    first = graph.node("Equal", raw.name, graph.node("ReduceMax", raw.name, axis, keepdims=1))
    highest = graph.node("ReduceMax", probability.name, axis, keepdims=1)
    # Half of it twice: ONNX Runtime leaves out a factor that is nearly 1.
    half = graph.node("Mul", highest, graph.constant([[0.5 - _LAST_BITS / 2]]))
    below = graph.node("Min", probability.name, graph.node("Add", half, half))
    return replace(probability, name=graph.node("Where", first, probability.name, below))


@_converts("catboost.CatBoostRegressor", method="predict")
def _catboost_value(conversion: Conversion, model: Any, x: Tensor) -> Tensor:
    document = _catboost_document(conversion, model)
    link = _link_of(conversion, _CATBOOST_VALUES, _catboost_objective(document), "values")
    sums = _catboost_sums(conversion, document, x)
    if sums.width != 1:
        conversion.refuse(f"it answers {sums.width} values for a row", "Train one model for each target.")
    return _linked(conversion, link, sums)


def _catboost_document(conversion: Conversion, model: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        document: dict[str, Any] = json.loads(file.read_bytes())
    features = document["features_info"]
    for kind in ("categorical_features", "text_features", "embedding_features"):
        if features.get(kind):
            conversion.refuse(
                f"its own encoding of {kind.replace('_', ' ')} has no converter",
                "Encode them before it, for example with OneHotEncoder(handle_unknown='ignore').",
            )
    return document


def _catboost_objective(document: dict[str, Any]) -> str:
    return str(document["model_info"]["params"]["loss_function"]["type"])


def _catboost_sums(conversion: Conversion, document: dict[str, Any], x: Tensor) -> Tensor:
    graph, features = conversion.graph, document["features_info"].get("float_features", [])
    scale, bias = document["scale_and_bias"]
    columns = [int(each["flat_feature_index"]) for each in features]
    null_left = np.ones(x.width, dtype=np.bool_)
    null_left[columns] = [each["nan_value_treatment"] != "AsTrue" for each in features]
    node = TreeEnsembleNode()
    trees = document.get("oblivious_trees") or document.get("trees", [])
    if not trees:
        conversion.refuse("it has no trees", "Give it more iterations, or features that vary.")
    for tree in trees:
        root = _oblivious(tree, columns, len(bias)) if "leaf_values" in tree else _branched(tree, columns)
        for each in _catboost_trees(_without_dead_branches(root, {}), null_left):
            node.add(each)
    if scale == 1:
        # As a last tree: ONNX Runtime leaves out an addition of nearly 0.
        for target, last in enumerate(bias):
            node.add(constant_tree(float(last), target))
    # Compared in single precision, added in double.
    sums = node.make(graph, graph.cast(x, "float32"), len(bias))
    return sums if scale == 1 else graph.elementwise("Add", graph.elementwise("Mul", sums, [scale]), bias)


_Leaf = tuple[float, ...]


class _Branch(NamedTuple):
    """A node that sends a row to the right whose value is above the border."""

    column: int
    border: float
    left: _Branch | _Leaf
    right: _Branch | _Leaf


def _oblivious(tree: dict[str, Any], columns: list[int], outputs: int) -> _Branch | _Leaf:
    """Return a tree that has one split a level: the answer to split k is bit k of the leaf's number."""
    nodes: list[_Branch | _Leaf] = [tuple(each) for each in np.reshape(tree["leaf_values"], (-1, outputs)).tolist()]
    for split in reversed(tree.get("splits") or []):
        half = len(nodes) // 2
        column, border = columns[split["float_feature_index"]], split["border"]
        nodes = [_Branch(column, border, nodes[at], nodes[at + half]) for at in range(half)]
    return nodes[0]


def _branched(tree: dict[str, Any], columns: list[int]) -> _Branch | _Leaf:
    if "split" not in tree:
        return tuple(np.ravel(tree["value"]).tolist())
    column, border = columns[tree["split"]["float_feature_index"]], tree["split"]["border"]
    return _Branch(column, border, _branched(tree["left"], columns), _branched(tree["right"], columns))


def _without_dead_branches(node: _Branch | _Leaf, bounds: dict[int, tuple[float, float]]) -> _Branch | _Leaf:
    """Return the node without branches that no row reaches; many leaves of an oblivious tree contradict themselves.

    A null goes the same way at every border of its column, so that it takes none of the removed branches either.
    """
    if not isinstance(node, _Branch):
        return node
    low, high = bounds.get(node.column, (-np.inf, np.inf))
    if node.border <= low:
        return _without_dead_branches(node.right, bounds)
    if node.border >= high:
        return _without_dead_branches(node.left, bounds)
    left = _without_dead_branches(node.left, {**bounds, node.column: (low, node.border)})
    right = _without_dead_branches(node.right, {**bounds, node.column: (node.border, high)})
    return left if left == right else _Branch(node.column, node.border, left, right)


def _catboost_trees(root: _Branch | _Leaf, null_left: NDArray[np.bool_]) -> Iterator[Tree]:
    """Yield the tree once for each output, since a leaf has one weight."""
    nodes = [root]
    left, right = [], []
    for node in nodes:  # grows
        branch = isinstance(node, _Branch)
        left.append(len(nodes) if branch else -1)
        right.append(len(nodes) + 1 if branch else -1)
        if isinstance(node, _Branch):
            nodes += [node.left, node.right]
    column = np.array([node.column if isinstance(node, _Branch) else 0 for node in nodes])
    leaves = [() if isinstance(node, _Branch) else node for node in nodes]
    for target in range(max(map(len, leaves))):
        yield Tree(
            feature=column,
            threshold=np.array([node.border if isinstance(node, _Branch) else 0.0 for node in nodes]),
            left=np.array(left),
            right=np.array(right),
            missing_left=null_left[column],
            weight=np.array([leaf[target] if leaf else 0.0 for leaf in leaves]),
            target=target,
        )
