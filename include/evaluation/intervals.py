"""Every metric of everyone with its interval, and the paired differences to the candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.delong import error_by_block, influences
from include.evaluation.metrics import Truth, measure, normalised
from include.evaluation.resampling import resampled_precision, resampled_sums, row_terms
from include.records import Difference, Interval
from include.spec import Task

Floats = NDArray[np.float64]
_LEAST: Mapping[str, float] = {"r2": -np.inf}
_MOST: Mapping[str, float] = dict.fromkeys(("log_loss", "mae", "rmse", "pinball"), np.inf) | {"brier": 2.0}


@dataclass(frozen=True, slots=True)
class Manner:
    """How sure figures are made: what `include.spec.EvaluationConfig` declares, and where chance starts from."""

    level: float = 0.95
    resamples: int = 2000
    quantile: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model showed on some rows.

    Attributes
    ----------
    points : dict of str to float
    moved : dict of str to ndarray
        For each metric, what its error is computed from, paired row by row or draw by draw with the
        other models': influences of rows (``roc_auc``), or the values of all resamples.
    """

    points: dict[str, float]
    moved: dict[str, Floats]


def measure_all(
    task: Task,
    truth: Truth,
    scores: Mapping[str, Floats],
    blocks: Blocks,
    manner: Manner,
    *,
    thresholds: Mapping[str, float] | None = None,
    only: Iterable[str] | None = None,
) -> dict[str, Figures]:
    """Measure several models on the same rows and the same resamples.

    Parameters
    ----------
    scores : mapping of str to ndarray
        By who answered; each of shape (n_samples, n_classes) or (n_samples, 1).
    thresholds : mapping of str to float, optional
        Of F1; 0.5 for whom it does not name.
    only : iterable of str, optional
        The metrics wanted; all by default.
    """
    drawn = blocks.drawn(manner.resamples, manner.seed)
    wanted = None if only is None else set(only)
    found = {}
    for who, answers in scores.items():
        threshold = (thresholds or {}).get(who, 0.5)
        points = measure(task, truth, answers, threshold=threshold, quantile=manner.quantile, only=wanted)
        moved: dict[str, Floats] = {}
        if points.keys() - {"roc_auc", "average_precision"}:
            terms, from_sums = row_terms(task, truth, answers, threshold, manner.quantile)
            moved |= from_sums(resampled_sums(terms, blocks.of_row, drawn))
        if "average_precision" in points:
            classes = truth.astype(np.int64)
            moved["average_precision"] = resampled_precision(classes, normalised(answers), blocks.of_row, drawn)
        if "roc_auc" in points:
            moved["roc_auc"] = influences(truth.astype(np.int64), normalised(answers))[1]
        found[who] = Figures(points, {name: moved[name] for name in points})
    return found


def intervals_of(figures: Figures, blocks: Blocks, manner: Manner) -> dict[str, Interval]:
    """Return the two-sided interval of each metric, cut to the values that it can take; none that cannot be told."""
    found = {}
    for name, value in figures.points.items():
        error = _error(name, figures.moved[name], blocks)
        if error is None:
            continue
        reach = quantile_of(manner.level, blocks.count - 1) * error
        low = max(value - reach, _LEAST.get(name, 0.0))
        found[name] = Interval(low=low, high=min(value + reach, _MOST.get(name, 1.0)))
    return found


def differences_of(figures: Figures, rival: Figures, blocks: Blocks, manner: Manner) -> dict[str, Difference]:
    """Return the paired difference, ours less the rival's, of each metric that both have."""
    found = {}
    for name, value in figures.points.items():
        if name not in rival.points:
            continue
        error = _error(name, figures.moved[name] - rival.moved[name], blocks)
        if error is None:
            continue
        reach = quantile_of(manner.level, blocks.count - 1) * error
        gap = value - rival.points[name]
        found[name] = Difference(
            value=gap,
            low=gap - reach,
            high=gap + reach,
            error=error,
            freedom=blocks.count - 1,
            method="delong by block" if name == "roc_auc" else "bootstrap by block",
        )
    return found


def quantile_of(level: float, freedom: int | None) -> float:
    """Return how many standard errors a two-sided interval at `level` reaches to either side.

    By Student's t with one degree of freedom fewer than there are blocks: with few blocks their
    spread is itself uncertain (Efron, Tibshirani 1993, section 12.4). None: by the normal distribution.
    """
    from scipy.stats import norm, t

    tail = 1 - (1 - level) / 2
    return float(norm.ppf(tail) if freedom is None else t.ppf(tail, max(1, freedom)))


def _error(name: str, moved: Floats, blocks: Blocks) -> float | None:
    """Return the standard error; None when these rows cannot tell it."""
    if blocks.count < 2:
        return None
    if name == "roc_auc":
        return error_by_block(moved, blocks.of_row)
    seen = moved[np.isfinite(moved)]
    # A bootstrap over n blocks sees (n - 1) / n of their variance (Efron, Tibshirani 1993, section 5.3).
    return float(np.std(seen)) * sqrt(blocks.count / (blocks.count - 1)) if len(seen) else None
