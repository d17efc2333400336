"""Parts of the holdout: those declared, each with its own figures beside the champion's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.evaluation.blocks import Blocks
from include.evaluation.intervals import Manner, differences_of, intervals_of, measure_all
from include.evaluation.metrics import Truth
from include.records import Difference, GroupRates, SliceMetric
from include.spec import METRICS, Slice, Task

Floats = NDArray[np.float64]
MISSING = "missing"


def parts_of(rows: pa.Table, each: Slice) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the name and the rows, shape (n_samples,), of each part that a slice divides the rows into."""
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


def slice_figures(
    task: Task,
    rows: pa.Table,
    truth: Truth,
    scores: Mapping[str, Floats],
    blocks: Blocks,
    manner: Manner,
    *,
    declared: Sequence[Slice],
    metrics: Sequence[str],
    fewest: int,
    thresholds: Mapping[str, float],
) -> tuple[tuple[SliceMetric, ...], int]:
    """Measure candidate and champion on every declared slice.

    Returns
    -------
    figures : tuple of SliceMetric
        One a slice and metric that its rows can tell.
    left_out : int
        How many slices had fewer than `fewest` rows.
    """
    found: list[SliceMetric] = []
    left_out = 0
    who = {name: each for name, each in scores.items() if name in ("candidate", "champion")}
    for each in declared:
        for name, inside in parts_of(rows, each):
            if inside.sum() < fewest:
                left_out += 1
                continue
            part = {name: answers[inside] for name, answers in who.items()}
            within = blocks.of(inside)
            measured = measure_all(task, truth[inside], part, within, manner, thresholds=thresholds, only=metrics)
            candidate, champion = measured["candidate"], measured.get("champion")
            ranges = intervals_of(candidate, within, manner)
            gaps = differences_of(candidate, champion, within, manner) if champion else {}
            for metric, value in candidate.points.items():
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
                        champion=champion.points.get(metric) if champion else None,
                        difference=gap,
                        p_value=None if gap is None else worse_by(metric, gap, 0.0),
                    )
                )
    return tuple(found), left_out


def worse_by(metric: str, gap: Difference, margin: float) -> float:
    """Return the one-sided p-value against "worse than the champion by no more than `margin`"."""
    from scipy.stats import norm, t

    shortfall = (-gap.value if METRICS[metric].higher_is_better else gap.value) - margin
    if gap.error == 0:
        return 1.0 if shortfall <= 0 else 0.0
    ratio = shortfall / gap.error
    return float(norm.sf(ratio) if gap.freedom is None else t.sf(ratio, max(1, gap.freedom)))


def group_rates(
    rows: pa.Table, truth: NDArray[np.int64], scores: Floats, threshold: float, features: Sequence[str]
) -> tuple[GroupRates, ...]:
    """Return the rates of a binary model in every group of `features`.

    Sources: demographic parity, Dwork et al. (2012); equal opportunity and equalised odds, Hardt, Price,
    Srebro (2016).
    """
    called, positive = scores[:, 1] >= threshold, truth == 1
    found = []
    for feature in features:
        for name, inside in parts_of(rows, Slice(feature=feature)):
            found.append(
                GroupRates(
                    feature=feature,
                    group=name,
                    rows=int(inside.sum()),
                    selection_rate=float(called[inside].mean()),
                    error_rate=float((called != positive)[inside].mean()),
                    true_positive_rate=_mean(called[inside & positive]),
                    false_positive_rate=_mean(called[inside & ~positive]),
                )
            )
    return tuple(found)


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _between(feature: str, low: float, high: float) -> str:
    if np.isinf(low):
        return f"{feature} < {high:g}"
    return f"{feature} >= {low:g}" if np.isinf(high) else f"{low:g} <= {feature} < {high:g}"
