"""Tree ensembles as one node, in double precision: scikit-learn's thresholds, directions of nulls, weights and sums.

ONNX has trees in single precision (TreeEnsembleClassifier, TreeEnsembleRegressor) and, since version 5 of its domain
for machine learning, in double (TreeEnsemble). In single precision a threshold moves to the next number, and a sum of
100 weights of 1/100 is not 1. In double the answers are those of scikit-learn, bit for bit, and take the same time.

Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from include.training.conversion.graph import ML_DOMAIN, Graph, Tensor

LESS_OR_EQUAL: Final = 0
LESS: Final = 1
MEMBER: Final = 6
_SUM: Final = 1
_UNCHANGED: Final = 0

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. Its root is node 0.

    Parameters
    ----------
    feature : ndarray of int64, shape (n_nodes,)
        The column that a node looks at.
    threshold : ndarray of float64, shape (n_nodes,)
    left, right : ndarray of int64, shape (n_nodes,)
        Where a row goes that passes the node's comparison, and where it goes otherwise; -1: the node is a leaf.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether a null goes to the left.
    weight : ndarray of float64, shape (n_nodes,)
        What a leaf adds.
    target : int or ndarray of int64, shape (n_nodes,)
        The output to which a leaf adds.
    mode : int or ndarray of int64, shape (n_nodes,)
        The comparison: ``value <= threshold`` (0), ``value < threshold`` (1), or value in `members` (6).
    members : dict of int to sequence of float
        The values of the nodes that compare with a set.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: NDArray[np.bool_]
    weight: Floats
    target: int | Ints = 0
    mode: int | Ints = LESS_OR_EQUAL
    members: dict[int, tuple[float, ...]] = field(default_factory=dict)


def constant_tree(weight: float, target: int = 0) -> Tree:
    """Return a tree that adds `weight` to every row, at its place in the order of the sum."""
    one, none = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
    return Tree(one, np.zeros(1), none, none, np.zeros(1, dtype=np.bool_), np.array([weight]), target)


class TreeEnsembleNode:
    """Collects trees into the attributes of one TreeEnsemble node; weights are added in the order of the trees.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        The precision of the comparisons and of the sums.
    """

    def __init__(self, dtype: Literal["float64", "float32"] = "float64") -> None:
        self._dtype = dtype
        self._columns: dict[str, list[Any]] = {
            name: []
            for name in (
                "nodes_featureids",
                "nodes_splits",
                "nodes_modes",
                "nodes_truenodeids",
                "nodes_falsenodeids",
                "nodes_trueleafs",
                "nodes_falseleafs",
                "nodes_missing_value_tracks_true",
                "leaf_targetids",
                "leaf_weights",
            )
        }
        self._roots: list[int] = []
        self._members: list[float] = []
        self._nodes = self._leaves = 0

    def add(self, tree: Tree) -> None:
        """Add a tree."""
        if tree.left[0] == -1:
            tree = _with_a_split(tree)
        inner = np.asarray(tree.left) != -1
        # Inner nodes and leaves are numbered apart, over all trees.
        number = np.where(inner, self._nodes + np.cumsum(inner) - 1, self._leaves + np.cumsum(~inner) - 1)
        left, right = tree.left[inner], tree.right[inner]
        every = np.ones(len(tree.left), dtype=np.int64)
        self._roots.append(self._nodes)
        added = {
            "nodes_featureids": tree.feature[inner],
            "nodes_splits": tree.threshold[inner],
            "nodes_modes": (tree.mode * every)[inner],
            "nodes_truenodeids": number[left],
            "nodes_falsenodeids": number[right],
            "nodes_trueleafs": ~inner[left],
            "nodes_falseleafs": ~inner[right],
            "nodes_missing_value_tracks_true": tree.missing_left[inner],
            "leaf_targetids": (tree.target * every)[~inner],
            "leaf_weights": tree.weight[~inner],
        }
        for name, values in added.items():
            self._columns[name].append(values)
        for node in np.flatnonzero(inner).tolist():
            if node in tree.members:
                self._members += [*tree.members[node], np.nan]
        self._nodes += int(inner.sum())
        self._leaves += int((~inner).sum())

    def make(self, graph: Graph, x: Tensor, outputs: int) -> Tensor:
        """Add the node to `graph`: for each row the sums of its leaves' weights, shape (n, outputs)."""
        name = graph.name("trees")
        joined = {each: np.concatenate(parts) for each, parts in self._columns.items()}
        attributes: dict[str, Any] = {
            each: values.astype(np.int64).tolist()
            for each, values in joined.items()
            if each not in ("nodes_splits", "nodes_modes", "leaf_weights")
        }
        for each in ("nodes_splits", "leaf_weights"):
            attributes[each] = onnx.numpy_helper.from_array(joined[each].astype(self._dtype), each)
        attributes["nodes_modes"] = onnx.numpy_helper.from_array(joined["nodes_modes"].astype(np.uint8), "nodes_modes")
        if self._members:
            members = np.asarray(self._members, dtype=self._dtype)
            attributes["membership_values"] = onnx.numpy_helper.from_array(members, "membership_values")
        graph.nodes.append(
            helper.make_node(
                "TreeEnsemble",
                [graph.cast(x, self._dtype).name],
                [name],
                domain=ML_DOMAIN,
                n_targets=outputs,
                aggregate_function=_SUM,
                post_transform=_UNCHANGED,
                tree_roots=self._roots,
                **attributes,
            )
        )
        return Tensor(name, outputs, self._dtype)


def _with_a_split(leaf: Tree) -> Tree:
    """Return the tree of one leaf with a root above it, which the operator needs."""

    def three_times(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values[:1]] * 3)

    target = leaf.target if isinstance(leaf.target, int) else three_times(leaf.target)
    return Tree(
        feature=np.zeros(3, dtype=np.int64),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.ones(3, dtype=np.bool_),
        weight=three_times(leaf.weight),
        target=target,
    )
