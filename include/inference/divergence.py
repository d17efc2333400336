"""Measures how far a challenger's scores are from the champion's on the same rows.

It is the one measurement for the holdout, a published partition and sampled requests, so that a bound means
the same for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.inference.ranks import correlation_of_ranks, ranks_of
from include.records import Divergence
from include.spec.divergence import DivergenceBounds

TENTHS = 10
Floats = NDArray[np.float64]


class BoundCheck(NamedTuple):
    """One metric compared with its bound; the description goes into a sentence."""

    metric: str
    value: float | None
    bound: float
    passed: bool
    description: str


def compute_divergence(champion: Floats, challenger: Floats, *, flipped: NDArray[np.bool_] | None) -> Divergence:
    """Measure two arrays of scores of the same rows, each of shape (n_rows, n_outputs).

    Parameters
    ----------
    flipped : ndarray of bool, shape (n_rows,), or None
        Which rows get another class; None for a regression.
    """
    ranks = [(ranks_of(champion[:, each]), ranks_of(challenger[:, each])) for each in range(champion.shape[1])]
    correlations = [correlation_of_ranks(one, other) for one, other in ranks]
    known = [each for each in correlations if each is not None]
    moves = [float(np.mean(_tenth(one) != _tenth(other))) for one, other in ranks]
    flips = None if flipped is None else float(np.mean(flipped))
    return Divergence(
        rank_correlation=float(np.mean(known)) if len(known) == len(ranks) else None,
        decile_moves=float(np.mean(moves)),
        label_flips=flips,
    )


def check_bounds(bounds: DivergenceBounds, seen: Divergence) -> tuple[BoundCheck, ...]:
    """Compare each declared bound with the measurement; a metric that is not defined fails."""
    checks = []
    minimum, rank = bounds.min_rank_correlation, seen.rank_correlation
    if minimum is not None:
        shown = "not defined" if rank is None else f"{rank:.4f}"
        description = f"rank correlation with the champion {shown}; limit at least {minimum:g}"
        checks.append(BoundCheck("rank correlation", rank, minimum, rank is not None and rank >= minimum, description))
    shares = (
        ("decile moves", seen.decile_moves, bounds.max_decile_moves, "rows in another decile"),
        ("label flips", seen.label_flips, bounds.max_label_flips, "labels flipped"),
    )
    for metric, share, maximum, name in shares:
        if maximum is not None:
            shown = "not defined" if share is None else f"{share:.2%}"
            passed = share is not None and share <= maximum
            checks.append(BoundCheck(metric, share, maximum, passed, f"{name} {shown}; limit at most {maximum:.2%}"))
    return tuple(checks)


def _tenth(ranks: Floats) -> NDArray[np.int64]:
    return (ranks * TENTHS // len(ranks)).astype(np.int64)
