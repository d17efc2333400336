"""In which order a forest answers the rows of a batch soonest: those that take the same way through the trees together.

A tree's cost is that of branches that the processor guesses wrongly, and it guesses by what the last rows did. So the
rows are sorted by their answers to the questions that the forest asks most. The answers to the rows do not depend on
it; the questions come with the graph, see `include.training.tree_splits`.

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
"""Fewer rows are answered before they would be sorted."""

SplitNode = tuple[int, float]


class RowOrder:
    """Sorts rows by their answers to a few questions.

    Parameters
    ----------
    questions : sequence of (feature, threshold)
        From 1 to 16, the weightiest first; a feature is a column of the matrix.
    """

    def __init__(self, questions: Sequence[SplitNode]) -> None:
        # As many as an answer has bits, so that the answers of all rows are packed as one piece: no value is -inf.
        asked = [*questions, *[(0, -math.inf)] * (MAX_SPLITS - len(questions))]
        self._features = np.array([feature for feature, _ in asked], dtype=np.intp)
        self._thresholds = np.array([threshold for _, threshold in asked], dtype=np.float32)

    def of(self, matrix: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the positions of the rows of `matrix`, shape (n, n_features), in that order; shape (n,)."""
        yes = matrix.take(self._features, axis=1) <= self._thresholds
        answers = np.packbits(yes.ravel()).view(">u2").astype(np.uint16)
        return answers.argsort(kind="stable")  # of 16 bits: by counting, not by comparing


def format_row_order(questions: Sequence[SplitNode]) -> str:
    """Return the entry's text."""
    return json.dumps([[feature, threshold] for feature, threshold in questions])


def read_row_order(metadata: Mapping[str, str], width: int) -> RowOrder | None:
    """Return the order that a graph's metadata asks for, or None when it asks for none.

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
    if not isinstance(found, list) or not 0 < len(found) <= MAX_SPLITS or not all(_asks(each, width) for each in found):
        raise ValueError(
            f"expected 1 to {MAX_SPLITS} pairs [feature from 0 to {width - 1}, threshold]; found {text[:200]!r}"
        )
    return RowOrder([(feature, threshold) for feature, threshold in found])


def _asks(pair: object, width: int) -> bool:
    match pair:
        case [int(feature), int() | float()] if not isinstance(feature, bool):
            return 0 <= feature < width
    return False
