"""Scoring many rows with a message now and then, so that a slow model is not taken for one that hangs."""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from include.inference.scorer import Scorer

log = logging.getLogger(__name__)

ROWS = 2_000
SECONDS_BETWEEN_MESSAGES = 10.0


def score_with_progress(scorer: Scorer, matrix: NDArray[np.float32], what: str) -> NDArray[np.float64]:
    """Score `matrix` in parts of 2,000 rows, and log how far it is every 10 seconds.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, n_features)
    what : str
        What is scored, for the message: "the holdout by the candidate".

    Returns
    -------
    ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
        As `Scorer.score` gives it.
    """
    started = reported = time.monotonic()
    scores = np.empty((len(matrix), scorer.signature.outputs), dtype=np.float64)
    for first in range(0, len(matrix), ROWS):
        last = min(first + ROWS, len(matrix))
        scores[first:last] = scorer.score(matrix[first:last])
        now = time.monotonic()
        if now - reported >= SECONDS_BETWEEN_MESSAGES and last < len(matrix):
            reported = now
            log.info(
                "%s: %s: %s of %s rows scored after %.0f s",
                scorer.signature.model, what, f"{last:,}", f"{len(matrix):,}", now - started,
            )  # fmt: skip
    return scores
