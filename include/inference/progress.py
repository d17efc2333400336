"""Scoring many rows in parts, so that a slow model is not taken for one that hangs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from include.inference.scorer import Scorer
from include.progress import SILENT, Progress

ROWS = 2_000


def score_with_progress(
    scorer: Scorer, matrix: NDArray[np.float32], what: str, progress: Progress = SILENT
) -> NDArray[np.float64]:
    """Score `matrix` in parts of 2,000 rows, and report after each.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, n_features)
    what : str
        What is scored, for the report: "holdout, candidate".
    progress : Progress

    Returns
    -------
    ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
        As `Scorer.score` gives it.
    """
    scores = np.empty((len(matrix), scorer.signature.outputs), dtype=np.float64)
    for first in range(0, len(matrix), ROWS):
        last = min(first + ROWS, len(matrix))
        scores[first:last] = scorer.score(matrix[first:last])
        progress.report(f"rows scored ({what})", last, len(matrix))
    return scores
