"""How far a challenger's answers are from the champion's on the same rows, whoever scored them and wherever.

The holdout, a published partition and sampled requests are all measured here, so that a bound means the
same for each.

Sources
-------
Spearman's rank correlation with ties: https://en.wikipedia.org/wiki/Spearman%27s_rank_correlation_coefficient
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.records import Divergence
from include.spec.divergence import DivergenceBounds

TENTHS = 10
Floats = NDArray[np.float64]


class BoundCheck(NamedTuple):
    """One figure that was held against its bound; the words go into a sentence."""

    metric: str
    value: float | None
    bound: float
    passed: bool
    description: str


def compute_divergence(champion: Floats, challenger: Floats, *, classes: bool) -> Divergence:
    """Measure two arrays of scores of the same rows, each of shape (n_rows, n_outputs).

    Parameters
    ----------
    classes : bool
        Whether the columns are classes, so that the largest is the answer.
    """
    ranks = [(_ranks(champion[:, each]), _ranks(challenger[:, each])) for each in range(champion.shape[1])]
    correlations = [_correlation(one, other) for one, other in ranks]
    known = [each for each in correlations if each is not None]
    moves = [float(np.mean(_tenth(one) != _tenth(other))) for one, other in ranks]
    flips = float(np.mean(champion.argmax(axis=1) != challenger.argmax(axis=1))) if classes else None
    return Divergence(
        rank_correlation=float(np.mean(known)) if len(known) == len(ranks) else None,
        decile_moves=float(np.mean(moves)),
        label_flips=flips,
    )


def check_bounds(bounds: DivergenceBounds, seen: Divergence) -> tuple[BoundCheck, ...]:
    """Hold each declared bound against what was seen; a figure that is not defined keeps to none."""
    held = []
    least, rank = bounds.min_rank_correlation, seen.rank_correlation
    if least is not None:
        told = "not defined" if rank is None else f"{rank:.4f}"
        words = f"its rank correlation with the champion is {told} (at least {least:g} is asked)"
        held.append(BoundCheck("rank correlation", rank, least, rank is not None and rank >= least, words))
    shares = (
        ("decile moves", seen.decile_moves, bounds.max_decile_moves, "of rows moved to another tenth"),
        ("label flips", seen.label_flips, bounds.max_label_flips, "of labels flipped"),
    )
    for metric, share, most, words in shares:
        if most is not None:
            told = "an unknown share" if share is None else f"{share:.2%}"
            passed = share is not None and share <= most
            held.append(BoundCheck(metric, share, most, passed, f"{told} {words} (at most {most:.2%} may)"))
    return tuple(held)


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0, ties at their mean rank: Spearman's correlation is Pearson's of these."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts + 1) / 2)[inverse]
    return ranks


def _tenth(ranks: Floats) -> NDArray[np.int64]:
    return (ranks * TENTHS // len(ranks)).astype(np.int64)


def _correlation(one: Floats, other: Floats) -> float | None:
    if len(one) < 2 or one.std() == 0 or other.std() == 0:  # a correlation is of two points or more
        return None
    return float(np.corrcoef(one, other)[0, 1])
