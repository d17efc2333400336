"""The declared slices of the holdout, each with the metrics of candidate and champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.intervals import IntervalConfig, differences_of, intervals_of, measure_all
from include.evaluation.predictions import Floats, Truth
from include.records import Difference, GroupRates, SliceMetric
from include.spec import METRICS, Slice, Task

MISSING = "missing"


def parts_of(rows: pa.Table, each: Slice) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the name and the rows, shape (n_samples,), of each part of a slice."""
    column = rows.column(each.feature)
    absent = np.asarray(column.is_null(nan_is_null=True).to_numpy())
    if each.cuts:
        values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        edges = (-np.inf, *each.cuts, np.inf)
        for low, high in pairwise(edges):
            yield _between(each.feature, low, high), (values >= low) & (values < high) & ~absent
    else:
        for value in sorted(pc.unique(column).drop_null().to_pylist()):
            yield f"{each.feature} = {value}", np.asarray(pc.fill_null(pc.equal(column, value), False).to_numpy())
    if absent.any():
        yield f"{each.feature} {MISSING}", absent


def slice_metrics(
    task: Task,
    rows: pa.Table,
    truth: Truth,
    scores: Mapping[str, Floats],
    blocks: Blocks,
    config: IntervalConfig,
    *,
    declared: Sequence[Slice],
    metrics: Sequence[str],
    min_rows: int,
    thresholds: Mapping[str, float],
) -> tuple[tuple[SliceMetric, ...], int]:
    """Measure candidate and champion on every declared slice.

    Returns
    -------
    metrics : tuple of SliceMetric
        One for each slice and each metric that its rows determine.
    left_out : int
        The number of slices with fewer than `min_rows` rows.
    """
    found: list[SliceMetric] = []
    left_out = 0
    compared = {name: each for name, each in scores.items() if name in ("candidate", "champion")}
    for each in declared:
        for name, inside in parts_of(rows, each):
            if inside.sum() < min_rows:
                left_out += 1
                continue
            part = {name: answers[inside] for name, answers in compared.items()}
            within = blocks.of(inside)
            measured = measure_all(task, truth[inside], part, within, config, thresholds=thresholds, only=metrics)
            candidate, champion = measured["candidate"], measured.get("champion")
            ranges = intervals_of(candidate, within, config)
            gaps = differences_of(candidate, champion, within, config) if champion else {}
            for metric, value in candidate.values.items():
                gap = gaps.get(metric)
                found.append(
                    SliceMetric(
                        name=name,
                        features=(each.feature,),
                        rows=int(inside.sum()),
                        metric=metric,
                        candidate=value,
                        low=ranges[metric].low if metric in ranges else None,
                        high=ranges[metric].high if metric in ranges else None,
                        champion=champion.values.get(metric) if champion else None,
                        difference=gap,
                        p_value=None if gap is None else worse_by(metric, gap, 0.0),
                    )
                )
    return tuple(found), left_out


def worse_by(metric: str, gap: Difference, margin: float) -> float:
    """Return the one-sided p-value of the hypothesis "worse than the champion by at most `margin`"."""
    from scipy.stats import norm, t

    shortfall = -METRICS[metric].gain(gap.value) - margin
    if gap.standard_error == 0:
        return 1.0 if shortfall <= 0 else 0.0
    ratio = shortfall / gap.standard_error
    return float(norm.sf(ratio) if gap.degrees_of_freedom is None else t.sf(ratio, max(1, gap.degrees_of_freedom)))


def group_rates(
    rows: pa.Table, truth: NDArray[np.int64], selected: NDArray[np.bool_], features: Sequence[str]
) -> tuple[GroupRates, ...]:
    """Return the rates of a binary model in every group of `features`.

    Parameters
    ----------
    selected : ndarray of bool, shape (n_samples,)
        The rows that are predicted positive.

    Sources: demographic parity, Dwork et al. (2012); equal opportunity and equalised odds, Hardt, Price,
    Srebro (2016).
    """
    positive = truth == 1
    found = []
    for feature in features:
        for name, inside in parts_of(rows, Slice(feature=feature)):
            found.append(
                GroupRates(
                    feature=feature,
                    group=name,
                    rows=int(inside.sum()),
                    selection_rate=float(selected[inside].mean()),
                    error_rate=float((selected != positive)[inside].mean()),
                    true_positive_rate=_mean(selected[inside & positive]),
                    false_positive_rate=_mean(selected[inside & ~positive]),
                )
            )
    return tuple(found)


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _between(feature: str, low: float, high: float) -> str:
    if np.isinf(low):
        return f"{feature} < {high:g}"
    return f"{feature} >= {low:g}" if np.isinf(high) else f"{low:g} <= {feature} < {high:g}"
