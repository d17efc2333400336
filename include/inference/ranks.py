"""Spearman's rank correlation with ties, in NumPy: the service's image has no SciPy.

Source: https://en.wikipedia.org/wiki/Spearman%27s_rank_correlation_coefficient
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranks_of(values: Floats) -> Floats:
    """Return ranks from 0, ties at their mean rank: Spearman's correlation is Pearson's of these."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts + 1) / 2)[inverse]
    return ranks


def correlation_of_ranks(one: Floats, other: Floats) -> float | None:
    """Return the correlation of two arrays of ranks; None when it is not defined."""
    if len(one) < 2 or one.std() == 0 or other.std() == 0:  # a correlation is of two points or more
        return None
    return float(np.corrcoef(one, other)[0, 1])
