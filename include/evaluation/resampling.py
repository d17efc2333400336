"""The paired bootstrap in blocks of time, without a loop over resamples.

All metrics but two are functions of sums over rows. A resample draws blocks, so it needs only the sums of each block:
the matrix product of the counts of drawn blocks with these sums. Average precision needs the rows in order of score.
After one sort, its sums up to each threshold are a matrix product, too. (ROC AUC has a closed form:
`include.evaluation.delong`.)

Source: Efron, Tibshirani (1993), An introduction to the bootstrap, chapters 6 and 8.6.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.predictions import Floats, Predictions

Terms = Callable[[Predictions], NDArray[np.float64] | NDArray[np.bool_]]
"""What to sum over rows: shape (n_samples,) or (n_samples, n_columns)."""
RESAMPLES_AT_ONCE = 200


class Resamples:
    """The resamples of one model's predictions; metrics use sums over the rows of each.

    Parameters
    ----------
    predictions : Predictions
    blocks : Blocks
        The block of each row.
    drawn : ndarray, shape (n_resamples, n_blocks)
        How often each block is drawn; the same for every model, so that differences are paired.
    """

    def __init__(self, predictions: Predictions, blocks: Blocks, drawn: NDArray[np.float32]) -> None:
        self.predictions, self.blocks, self.drawn = predictions, blocks, drawn
        self._weights = drawn.astype(np.float64)
        self._sums: dict[Terms, Floats] = {}

    def sums(self, terms: Terms) -> Floats:
        """Return the sums of `terms` over the rows of each resample.

        Returns
        -------
        ndarray of float64, shape (n_resamples,) or (n_resamples, n_columns)
        """
        if terms not in self._sums:
            rows = np.asarray(terms(self.predictions), dtype=np.float64)
            columns = rows.reshape(len(rows), -1)
            by_block = np.stack(
                [np.bincount(self.blocks.of_row, weights=column, minlength=self.blocks.count) for column in columns.T],
                axis=1,
            )
            found = self._weights @ by_block
            self._sums[terms] = found[:, 0] if rows.ndim == 1 else found
        return self._sums[terms]


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return ``part / whole``, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def resampled_average_precision(resamples: Resamples) -> Floats:
    """Return the average precision of each resample, shape (n_resamples,): of several classes, their mean.

    It is the sum over thresholds of the gain in recall times the precision there, as scikit-learn's
    ``average_precision_score`` defines it. A resample without a positive row gives NaN.
    """
    found = resamples.predictions
    classes = [1] if len(found.labels) == 2 else list(found.labels)
    each = [
        _average_precision_of(
            found.classes == label, found.probabilities[:, label], resamples.blocks.of_row, resamples.drawn
        )
        for label in classes
    ]
    return np.asarray(np.mean(each, axis=0))


def _average_precision_of(
    positive: NDArray[np.bool_], score: Floats, block: NDArray[np.intp], drawn: NDArray[np.float32]
) -> Floats:
    order = np.argsort(-score, kind="stable")
    score, positive, block = score[order], positive[order], block[order]
    # Precision counts only where recall grows: at the last row of each tie with a positive row.
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    ends = ends[np.diff(np.cumsum(positive)[ends], prepend=0) > 0]
    # Counts stay below 2**24, which single precision holds exactly.
    hits = np.empty((len(ends), drawn.shape[1]), dtype=np.float32)
    rows = np.empty_like(hits)
    for each in range(drawn.shape[1]):
        inside = block == each
        rows[:, each] = np.cumsum(inside)[ends]
        hits[:, each] = np.cumsum(inside & positive)[ends]
    found = np.empty(len(drawn))
    for start in range(0, len(drawn), RESAMPLES_AT_ONCE):
        times = drawn[start : start + RESAMPLES_AT_ONCE].T
        hit, seen = hits @ times, rows @ times
        gained = np.diff(hit, axis=0, prepend=np.float32(0))
        precision = np.divide(hit, seen, out=np.zeros_like(hit), where=seen > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[start : start + times.shape[1]] = (gained * precision).sum(axis=0, dtype=np.float64) / hit[-1]
    return found
