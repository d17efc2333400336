"""The splits of a graph's trees: for probing the graph beside them, and for sorting batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.inference.row_order import MAX_SPLITS, METADATA_KEY, SplitNode, format_row_order

MAX_DEPTH = 12
"""Deeper splits are reached by so few rows that the order of a batch does not depend on them."""


def with_row_order(onnx_bytes: bytes) -> bytes:
    """Return the graph with its most used splits; unchanged when it has no trees that read the features directly.

    Parameters
    ----------
    onnx_bytes : bytes
        A graph with one input.

    Returns
    -------
    bytes
        The same graph, and in its metadata the entry that `RowOrder` is made from.
    """
    import onnx

    model = onnx.load_from_string(onnx_bytes)
    weights: defaultdict[SplitNode, float] = defaultdict(float)
    for trees in _trees_on_features(model):
        for split, depth in _upper_splits(trees):
            weights[split] += 2.0**-depth
    if not weights:
        return onnx_bytes
    # Ties by the split itself, so that the same estimator always gives the same bytes.
    most = sorted(weights, key=lambda split: (-weights[split], split))[:MAX_SPLITS]
    onnx.helper.set_model_props(model, {METADATA_KEY: format_row_order(most)})
    return bytes(model.SerializeToString())


def feature_thresholds(onnx_bytes: bytes) -> dict[int, NDArray[np.float64]]:
    """Return the thresholds with which trees compare each feature directly, sorted, by the feature's position."""
    import onnx

    found: defaultdict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for trees in _trees_on_features(onnx.load_from_string(onnx_bytes)):
        features, splits = np.asarray(trees["nodes_featureids"]), trees["nodes_splits"]
        for feature in np.unique(features):
            found[int(feature)].append(splits[features == feature])
    return {feature: np.unique(np.concatenate(parts)) for feature, parts in found.items()}


def _trees_on_features(model: Any) -> Iterator[dict[str, Any]]:
    """Yield the attributes of each node of trees whose input is the graph's own, possibly in double."""
    import onnx

    features = {model.graph.input[0].name}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in features:
            features.update(node.output)
        elif node.op_type == "TreeEnsemble" and node.input[0] in features:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            attributes["nodes_splits"] = onnx.numpy_helper.to_array(attributes["nodes_splits"])
            yield attributes


def _upper_splits(trees: dict[str, Any]) -> Iterator[tuple[SplitNode, int]]:
    """Yield each inner node's split and its depth, down to a depth at which few rows arrive."""
    features, splits = trees["nodes_featureids"], trees["nodes_splits"].tolist()
    below = (
        (trees["nodes_truenodeids"], trees["nodes_trueleafs"]),
        (trees["nodes_falsenodeids"], trees["nodes_falseleafs"]),
    )
    waiting = [(root, 0) for root in trees["tree_roots"]]
    while waiting:
        node, depth = waiting.pop()
        if (
            any(not leaf[node] for _, leaf in below) or below[0][0][node] != below[1][0][node]
        ):  # a tree that is a constant has a split that splits nothing
            yield (features[node], splits[node]), depth
        if depth < MAX_DEPTH:
            waiting += [(child[node], depth + 1) for child, leaf in below if not leaf[node]]
