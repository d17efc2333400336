"""Sorts the rows of a batch so that a forest scores them faster: rows with the same path through the trees together.

The cost of a tree is that of mispredicted branches, and the processor predicts from the last rows. So the rows are
sorted by the splits that the forest uses most. The scores do not depend on the order. The splits are stored in the
graph, see `include.training.tree_splits`.

Format, version 1
-----------------
An entry ``sluice.row_order.1`` of the graph's metadata: JSON, at most 16 pairs ``[feature, threshold]``, each asking
whether the feature at that position is at most the threshold. What changes its meaning takes the next number; a
reader that does not find the entry it knows leaves the rows as they come.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

METADATA_KEY: Final = "sluice.row_order.1"
MAX_SPLITS: Final = 16
MIN_ROWS: Final = 300
"""For fewer rows, sorting takes longer than it saves."""

SplitNode = tuple[int, float]


class RowOrder:
    """Sorts rows by a few splits.

    Parameters
    ----------
    splits : sequence of (feature, threshold)
        From 1 to 16, the weightiest first; a feature is a column of the matrix.
    """

    def __init__(self, splits: Sequence[SplitNode]) -> None:
        # As many as an answer has bits, so that the answers of all rows are packed as one piece: no value is -inf.
        padded = [*splits, *[(0, -math.inf)] * (MAX_SPLITS - len(splits))]
        self._features = np.array([feature for feature, _ in padded], dtype=np.intp)
        self._thresholds = np.array([threshold for _, threshold in padded], dtype=np.float32)

    def of(self, matrix: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the positions of the rows of `matrix`, shape (n, n_features), in that order; shape (n,)."""
        yes = matrix.take(self._features, axis=1) <= self._thresholds
        answers = np.packbits(yes.ravel()).view(">u2").astype(np.uint16)
        return answers.argsort(kind="stable")  # of 16 bits: by counting, not by comparing


def format_row_order(splits: Sequence[SplitNode]) -> str:
    """Return the entry's text."""
    return json.dumps([[feature, threshold] for feature, threshold in splits])


def read_row_order(metadata: Mapping[str, str], width: int) -> RowOrder | None:
    """Return the order that is stored in a graph's metadata, or None.

    Parameters
    ----------
    metadata : mapping of str to str
        All entries.
    width : int
        How many features the graph takes.

    Raises
    ------
    ValueError
        When the entry is not of the format.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    found = json.loads(text)
    if (
        not isinstance(found, list)
        or not 0 < len(found) <= MAX_SPLITS
        or not all(_is_split(each, width) for each in found)
    ):
        raise ValueError(
            f"expected 1 to {MAX_SPLITS} pairs [feature from 0 to {width - 1}, threshold]; found {text[:200]!r}"
        )
    return RowOrder([(feature, threshold) for feature, threshold in found])


def _is_split(pair: object, width: int) -> bool:
    match pair:
        case [int(feature), int() | float()] if not isinstance(feature, bool):
            return 0 <= feature < width
    return False
