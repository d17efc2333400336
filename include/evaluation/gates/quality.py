"""Gates on the quality of the predictions."""

from __future__ import annotations

from statistics import median

from include.evaluation.gates.base import evaluate_gate, lower_confidence_bound, no_champion, not_measured, result
from include.records import Difference, Evidence, GateResult
from include.spec import (
    METRICS,
    BetterThanBaseline,
    Calibration,
    MetricThreshold,
    NonInferiority,
    Superiority,
    WithinHistory,
)
from include.spec.gates.quality import Limits

TO_DEVIATION = 1.4826  # standard deviation of a normal distribution, divided by its median absolute deviation


def excess(limits: Limits, value: float) -> tuple[float, float]:
    """Return the distance of a value beyond its limits (negative within them), and the nearest limit."""
    beyond = []
    if limits.minimum is not None:
        beyond.append((limits.minimum - value, limits.minimum))
    if limits.maximum is not None:
        beyond.append((value - limits.maximum, limits.maximum))
    return max(beyond)


@evaluate_gate.register
def _metric_threshold(gate: MetricThreshold, evidence: Evidence) -> GateResult:
    return _threshold(gate.kind, gate.metric, gate, gate.on, evidence)


@evaluate_gate.register
def _calibration(gate: Calibration, evidence: Evidence) -> GateResult:
    return _threshold(gate.kind, "ece", Limits(maximum=gate.max_error), gate.on, evidence)


@evaluate_gate.register
def _better_than_baseline(gate: BetterThanBaseline, evidence: Evidence) -> GateResult:
    evaluation, metric = evidence.evaluation, gate.metric
    ours, baseline = evaluation.candidate.get(metric), evaluation.baseline.get(metric)
    if ours is None or baseline is None:
        return not_measured(gate.kind, metric, None)
    if gate.alpha is not None:
        difference = evaluation.baseline_differences.get(metric)
        if difference is None:
            return not_measured(gate.kind, metric, None, "the difference to the baseline has no interval")
        bound = lower_confidence_bound(metric, difference, gate.alpha)
        return result(
            gate.kind, metric, bound, gate.margin, passed=bound > gate.margin,
            found=_compared(metric, ours, "baseline", baseline, difference, gate.alpha, bound),
            limits=_limit(metric, gate.margin, strictly=True),
        )  # fmt: skip
    limit = baseline + METRICS[metric].gain(gate.margin)
    higher = METRICS[metric].higher_is_better
    return result(
        gate.kind, metric, ours, limit, passed=ours > limit if higher else ours < limit,
        found=f"{metric}: candidate {ours:.4f}, baseline {baseline:.4f}, difference {ours - baseline:+.4f}",
        limits=_limit(metric, gate.margin, strictly=True),
    )  # fmt: skip


@evaluate_gate.register
def _non_inferiority(gate: NonInferiority, evidence: Evidence) -> GateResult:
    return _against_champion(gate.kind, gate.metric, -gate.margin, gate.alpha, evidence, strictly=False)


@evaluate_gate.register
def _superiority(gate: Superiority, evidence: Evidence) -> GateResult:
    return _against_champion(gate.kind, gate.metric, gate.margin, gate.alpha, evidence, strictly=True)


@evaluate_gate.register
def _within_history(gate: WithinHistory, evidence: Evidence) -> GateResult:
    metric, ours = gate.metric, evidence.evaluation.candidate.get(gate.metric)
    if ours is None:
        return not_measured(gate.kind, metric, None)
    past = [each[metric] for each in evidence.history if metric in each]
    if len(past) < gate.min_versions:
        found = (
            f"{metric}: candidate {ours:.4f}; no history yet: {len(past)} accepted version(s) with this metric, "
            f"{gate.min_versions} needed"
        )
        return result(gate.kind, metric, ours, None, passed=True, found=found)
    middle = median(past)
    spread = max(TO_DEVIATION * median(abs(each - middle) for each in past), gate.min_spread)
    gain = METRICS[metric].gain
    limit = middle - gain(gate.max_robust_z * spread)
    robust_z = gain(ours - middle) / spread
    word = "at least" if METRICS[metric].higher_is_better else "at most"
    return result(
        gate.kind, metric, ours, limit, passed=robust_z >= -gate.max_robust_z,
        found=(
            f"{metric}: candidate {ours:.4f}, median of {len(past)} accepted versions {middle:.4f}, "
            f"robust z-score {robust_z:+.1f}"
        ),
        limits=f"limit {word} {limit:.4f} (z-score {-gate.max_robust_z:g})",
    )  # fmt: skip


def _threshold(kind: str, metric: str, limits: Limits, on: str, evidence: Evidence) -> GateResult:
    evaluation = evidence.evaluation
    value, interval = evaluation.candidate.get(metric), evaluation.intervals.get(metric)
    if value is None or (on == "interval" and interval is None):
        limit = limits.maximum if limits.minimum is None else limits.minimum
        return not_measured(kind, metric, limit)
    ends, found = [value], f"{metric}: candidate {value:.4f}"
    if on == "interval" and interval is not None:
        ends = [interval.low, interval.high]
        found += f" ({evaluation.confidence_level:.0%} interval {interval.low:.4f} to {interval.high:.4f})"
    (beyond, limit), end = max((excess(limits, each), each) for each in ends)
    of = "the whole interval " if on == "interval" else ""
    return result(kind, metric, end, limit, passed=beyond <= 0, found=found, limits=f"limit {of}{limits.limits}")


def _against_champion(
    kind: str, metric: str, limit: float, alpha: float, evidence: Evidence, *, strictly: bool
) -> GateResult:
    """Compare the lower one-sided confidence bound of the gain over the champion with a limit."""
    evaluation = evidence.evaluation
    if evaluation.champion_version is None:
        return no_champion(kind, metric)
    champion = f"champion (version {evaluation.champion_version})"
    if evaluation.champion is None:
        note = evaluation.champion_note or "it was not evaluated"
        return result(kind, metric, None, None, passed=False, found=f"{metric}: {champion} cannot be compared: {note}")
    difference = evaluation.differences.get(metric)
    if difference is None:
        return not_measured(kind, metric, limit, "the difference to the champion has no interval on these rows")
    bound = lower_confidence_bound(metric, difference, alpha)
    ours, theirs = evaluation.candidate[metric], evaluation.champion[metric]
    return result(
        kind, metric, bound, limit, passed=bound > limit if strictly else bound >= limit,
        found=_compared(metric, ours, champion, theirs, difference, alpha, bound),
        limits=_limit(metric, limit, strictly=strictly),
    )  # fmt: skip


def _compared(
    metric: str, ours: float, reference: str, theirs: float, difference: Difference, alpha: float, bound: float
) -> str:
    """Return both values and their difference, with its confidence bound on the worse side."""
    side = "lower" if METRICS[metric].higher_is_better else "upper"
    return (
        f"{metric}: candidate {ours:.4f}, {reference} {theirs:.4f}, difference {difference.value:+.4f} "
        f"({1 - alpha:.0%} {side} bound {METRICS[metric].gain(bound):+.4f})"
    )


def _limit(metric: str, gain: float, *, strictly: bool) -> str:
    """Return the limit of a difference, in the metric's direction."""
    higher = METRICS[metric].higher_is_better
    comparison = ("above " if higher else "below ") if strictly else ""
    return f"limit {comparison}{METRICS[metric].gain(gain) + 0.0:+.4f}"
