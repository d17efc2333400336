"""Numbers as text, for the template of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from include.records import Difference, Evaluation, Interval, SliceMetric
from include.spec import METRICS, Feature

NOT_MEASURED = "not measured"
MAX_CATEGORIES = 12
# PostgreSQL does not keep the order of the keys in jsonb.
_ORDER = {name: position for position, name in enumerate(METRICS)}
NBSP = "\N{NO-BREAK SPACE}"  # an interval is not broken in two


class MetricRow(NamedTuple):
    """One metric of candidate, champion and baseline, as text."""

    metric: str
    direction: str
    candidate: str
    champion: str
    baseline: str
    against_champion: str
    against_baseline: str
    worse_than_champion: bool
    worse_than_baseline: bool


class ConfusionRow(NamedTuple):
    """The rows of one true class: their number by predicted class, and the recall and precision of the class."""

    label: str
    counts: tuple[str, ...]
    recall: str
    precision: str


class FeatureRow(NamedTuple):
    """One feature, as text."""

    name: str
    kind: str
    values: str
    missing: str


class SliceRow(NamedTuple):
    """One slice, as text."""

    name: str
    rows: str
    metric: str
    candidate: str
    compared: str
    p_value: str


def metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Return a row for each metric; each value has its interval if there is one."""
    champion = evaluation.champion or {}
    return [
        MetricRow(
            metric,
            "higher is better" if METRICS[metric].higher_is_better else "lower is better",
            with_interval(evaluation.candidate.get(metric), evaluation.intervals.get(metric)),
            with_interval(champion.get(metric), evaluation.champion_intervals.get(metric)),
            with_interval(evaluation.baseline.get(metric), evaluation.baseline_intervals.get(metric)),
            _difference(metric, evaluation.differences),
            _difference(metric, evaluation.baseline_differences),
            _is_worse(metric, evaluation.differences),
            _is_worse(metric, evaluation.baseline_differences),
        )
        for metric in sorted(evaluation.candidate, key=lambda name: _ORDER.get(name, len(_ORDER)))
    ]


def confusion_rows(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[ConfusionRow]:
    """Return a row for each true class; empty where the labels were not counted."""
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    return [
        ConfusionRow(
            label,
            tuple(f"{count:,}" for count in counts),
            number(counts[at] / sum(counts)) if sum(counts) else "no rows",
            number(counts[at] / predicted[at]) if predicted[at] else "never predicted",
        )
        for at, (label, counts) in enumerate(zip(classes, confusion, strict=False))
    ]


def feature_rows(features: tuple[Feature, ...]) -> list[FeatureRow]:
    """Return a row for each feature, with its unit and range, or its categories."""
    return [
        FeatureRow(
            each.name, each.kind, each.describe_values(MAX_CATEGORIES), "allowed" if each.nullable else "not allowed"
        )
        for each in features
    ]


def slice_rows(slices: tuple[SliceMetric, ...]) -> list[SliceRow]:
    """Return a row for each slice, in the given order."""
    rows = []
    for each in slices:
        interval = None if each.low is None or each.high is None else Interval(low=each.low, high=each.high)
        compared = [] if each.elsewhere is None else [f"elsewhere {number(each.elsewhere)}"]
        compared += [] if each.champion is None else [f"champion {number(each.champion)}"]
        p_value = NOT_MEASURED if each.p_value is None else number(each.p_value)
        candidate = with_interval(each.candidate, interval)
        rows.append(
            SliceRow(each.name, f"{each.rows:,}", each.metric, candidate, ", ".join(compared) or "nothing", p_value)
        )
    return rows


def with_interval(value: float | None, interval: Interval | None) -> str:
    """Return a value, with its interval in brackets if there is one."""
    if value is None:
        return NOT_MEASURED
    return (
        number(value) if interval is None else f"{number(value)} [{number(interval.low)},{NBSP}{number(interval.high)}]"
    )


def number(value: float) -> str:
    """Return four significant digits: ``0.7269``, ``12.35``, ``1,234``, ``3.1e-07``."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size == 0 or size >= 0.001:
        return f"{value:.4f}" if size < 10 else f"{value:.2f}"
    return f"{value:.2g}"


def moment(at: datetime) -> str:
    """Return a time to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def short(value: float) -> str:
    """Return three significant digits, for times and sizes."""
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def length(span: timedelta) -> str:
    """Return a duration in its largest whole unit."""
    seconds = span.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:g} seconds" if seconds else "none"


def _is_worse(metric: str, differences: Mapping[str, Difference]) -> bool:
    """Whether the whole confidence interval of the difference is on the worse side of zero."""
    found = differences.get(metric)
    return found is not None and (found.high < 0 if METRICS[metric].higher_is_better else found.low > 0)


def _difference(metric: str, differences: Mapping[str, Difference]) -> str:
    found = differences.get(metric)
    if found is None:
        return NOT_MEASURED
    return f"{found.value:+.4f} [{found.low:+.4f},{NBSP}{found.high:+.4f}]"
