"""Stores the most used splits of a forest in its graph, for sorting batches (see `include.inference.row_order`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from include.inference.row_order import MAX_SPLITS, METADATA_KEY, SplitNode, format_row_order


def with_row_order(onnx_bytes: bytes) -> bytes:
    """Return the graph with its most used splits; unchanged when it has no forest that reads the features directly.

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
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble") and node.input[0] == model.graph.input[0].name:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            for split, depth in _splits(attributes):
                weights[split] += 2.0**-depth
    if not weights:
        return onnx_bytes
    # Ties by the split itself, so that the same estimator always gives the same bytes.
    most = sorted(weights, key=lambda split: (-weights[split], split))[:MAX_SPLITS]
    onnx.helper.set_model_props(model, {METADATA_KEY: format_row_order(most)})
    return bytes(model.SerializeToString())


def _splits(forest: dict[str, Any]) -> Iterator[tuple[SplitNode, int]]:
    """Yield each inner node's split and its depth."""
    columns = ("treeids", "nodeids", "featureids", "values", "truenodeids", "falsenodeids", "modes")
    inner: dict[tuple[int, int], tuple[SplitNode, tuple[int, int]]] = {}
    for tree, node, feature, threshold, yes, no, mode in zip(
        *(forest[f"nodes_{each}"] for each in columns), strict=True
    ):
        if mode != b"LEAF":
            inner[tree, node] = (feature, threshold), (yes, no)
    below = {(tree, child) for (tree, _), (_, children) in inner.items() for child in children}
    waiting = [(place, 0) for place in inner if place not in below]
    while waiting:
        place, depth = waiting.pop()
        split, children = inner[place]
        yield split, depth
        waiting += [((place[0], child), depth + 1) for child in children if (place[0], child) in inner]
