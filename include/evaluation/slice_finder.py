"""The worst slices: a search over all features and pairs of features for parts with a higher loss than elsewhere.

Sources
-------
Chung et al. (2019), Slice Finder: automated data slicing for model validation. ICDE: the loss of a
slice against that of all other rows, tested slice by slice.
Benjamini, Hochberg (1995), Controlling the false discovery rate. JRSS B 57: the correction for
thousands of tests.
Liang, Zeger (1986), Longitudinal data analysis using generalized linear models. Biometrika 73: the
variance of a mean of rows that are dependent within blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.predictions import Floats, Truth, normalised
from include.inference.feature_types import feature_type
from include.records import SliceMetric
from include.spec import Feature, Task

Codes = NDArray[np.intp]
MAX_FOUND = 8
FALSE_DISCOVERY_RATE = 0.05
MAX_BINS = 12
LOSS: dict[Task, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}


@dataclass(frozen=True, slots=True)
class FeatureBins:
    """One feature in bins: the bin of each row (-1: no bin), and the names of the bins."""

    feature: str
    codes: Codes
    names: tuple[str, ...]


def row_losses(task: Task, truth: Truth, scores: Floats) -> Floats:
    """Return each row's loss, shape (n_samples,): logarithmic for classes, absolute for values."""
    if task == "regression":
        return np.asarray(np.abs(scores[:, 0] - truth))
    of_truth = normalised(scores)[np.arange(len(truth)), truth.astype(np.int64)]
    return np.asarray(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)))


def bin_features(features: tuple[Feature, ...], matrix: NDArray[np.float32]) -> list[FeatureBins]:
    """Bin numbers at their quartiles, and categories into the 12 most frequent; missing values are a separate bin.

    Parameters
    ----------
    features : tuple of Feature
        The features of the signature, with complete dictionaries.
    matrix : ndarray of float32, shape (n_samples, n_features)
    """
    binned = []
    for position, feature in enumerate(features):
        column = matrix[:, position]
        codes, labels = feature_type(feature).slice_codes(column)
        counts = np.bincount(codes, minlength=len(labels))
        kept = [code for code in np.argsort(-counts, kind="stable")[:MAX_BINS] if counts[code]]
        renamed = np.full(len(labels), -1, dtype=np.intp)
        renamed[kept] = np.arange(len(kept))
        if len(kept) > 1:
            binned.append(
                FeatureBins(feature.name, renamed[codes], tuple(_label(feature, labels[code]) for code in kept))
            )
    return binned


def worst_slices(
    task: Task, losses: dict[str, Floats], binned: list[FeatureBins], blocks: Blocks, min_rows: int
) -> tuple[SliceMetric, ...]:
    """Return the slices in which the candidate loses more than elsewhere, the largest excess first.

    Every part of every feature and of every pair of features with at least `min_rows` rows is tested,
    one-sided, with the variance taken between blocks; p-values are corrected together (false
    discovery rate 5%). A slice that is part of a reported slice with a larger excess is left out.

    Parameters
    ----------
    losses : dict of str to ndarray, shape (n_samples,)
        The ``candidate``'s and, if there is one, the ``champion``'s.
    """
    from scipy.stats import false_discovery_control

    ours, reference = losses["candidate"], losses.get("champion")
    groups: list[tuple[FeatureBins, ...]] = [*((each,) for each in binned), *combinations(binned, 2)]
    tested: list[tuple[float, float, int, tuple[FeatureBins, ...], int]] = []
    for group in groups:
        codes, count = _crossed(group)
        rows, excess, p_values = _tested(codes, count, ours, blocks, min_rows)
        tested += [
            (float(p_values[i]), float(excess[i]), int(rows[i]), group, int(i))
            for i in np.flatnonzero(rows >= min_rows)
        ]
    if not tested:
        return ()
    corrected = false_discovery_control(np.array([each[0] for each in tested]))
    order = sorted(range(len(tested)), key=lambda i: -tested[i][1])
    found: list[SliceMetric] = []
    reported: list[frozenset[str]] = []
    for i in order:
        _, excess_here, rows_here, group, code = tested[i]
        names = frozenset(_names(group, code))
        if corrected[i] > FALSE_DISCOVERY_RATE or excess_here <= 0 or any(each < names for each in reported):
            continue
        inside = _crossed(group)[0] == code
        reported.append(names)
        found.append(
            SliceMetric(
                name=" and ".join(_names(group, code)),
                features=tuple(each.feature for each in group),
                rows=rows_here,
                metric=LOSS[task],
                candidate=float(ours[inside].mean()),
                champion=None if reference is None else float(reference[inside].mean()),
                elsewhere=float(ours[~inside].mean()),
                p_value=float(corrected[i]),
            )
        )
        if len(found) == MAX_FOUND:
            break
    return tuple(found)


def _tested(
    codes: Codes, count: int, losses: Floats, blocks: Blocks, min_rows: int
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return the rows, the excess of the mean loss and the one-sided p-value of each part, shape (count,)."""
    from scipy.stats import t

    known = codes >= 0
    cell = codes[known] * blocks.count + blocks.of_row[known]
    size = count * blocks.count
    rows = np.bincount(cell, minlength=size).reshape(count, -1)
    sums = np.bincount(cell, weights=losses[known], minlength=size).reshape(count, -1)
    inside, total = rows.sum(axis=1), len(losses)
    outside = total - inside
    large_enough = (inside >= min_rows) & (outside >= min_rows)
    ok = np.maximum(inside, 1)
    means = sums.sum(axis=1) / ok
    elsewhere = (losses.sum() - sums.sum(axis=1)) / np.maximum(outside, 1)
    block_rows, block_sums = np.bincount(blocks.of_row), np.bincount(blocks.of_row, weights=losses)
    # The contributions of the blocks to the difference of the two means; the sum of their squares is its variance.
    moved = (sums - rows * means[:, None]) / ok[:, None]
    moved -= ((block_sums - sums) - (block_rows - rows) * elsewhere[:, None]) / np.maximum(outside, 1)[:, None]
    error = np.sqrt(blocks.count / max(1, blocks.count - 1) * (moved**2).sum(axis=1))
    excess = means - elsewhere
    p_values = t.sf(np.divide(excess, error, out=np.zeros_like(error), where=error > 0), max(1, blocks.count - 1))
    return np.where(large_enough, inside, 0), excess, np.asarray(p_values)


def _crossed(group: tuple[FeatureBins, ...]) -> tuple[Codes, int]:
    if len(group) == 1:
        return group[0].codes, len(group[0].names)
    first, second = group
    codes = first.codes * len(second.names) + second.codes
    return np.where((first.codes < 0) | (second.codes < 0), -1, codes), len(first.names) * len(second.names)


def _names(group: tuple[FeatureBins, ...], code: int) -> tuple[str, ...]:
    if len(group) == 1:
        return (group[0].names[code],)
    return group[0].names[code // len(group[1].names)], group[1].names[code % len(group[1].names)]


def _label(feature: Feature, label: str) -> str:
    return f"{feature.name} in {label}" if label.startswith("[") else f"{feature.name} = {label}"
