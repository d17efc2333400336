"""Gates on parts of the rows."""

from __future__ import annotations

from include.evaluation.gates.base import gain, not_measured, verdict, weigh
from include.evaluation.slices import worse_by
from include.records import Evidence, GateResult, SliceMetric
from include.spec import METRICS, FairnessGap, NoInferiorSlice, SliceThreshold

MOST_NAMED = 3


@weigh.register
def _slice_floor(gate: SliceThreshold, evidence: Evidence) -> GateResult:
    found = _slices(evidence, gate.metric, gate.feature)
    if not found:
        return not_measured(gate.kind, gate.metric, gate.bound, "no declared slice has enough rows for it")
    ordered = sorted(found, key=lambda each: gain(gate.metric, each.candidate))
    worst, word = ordered[0], "at least" if gate.METRICS[metric].higher_is_better else "at most"
    below = [each for each in ordered if gain(gate.metric, each.candidate) < gain(gate.metric, gate.bound)]
    if below:
        told = "; ".join(f"{each.candidate:.4f} where {each.name} ({each.rows:,} rows)" for each in below[:MOST_NAMED])
        sentence = (
            f"{gate.metric} must be {word} {gate.bound:g} on every slice; {len(below)} of {len(found)} are not: {told}."
        )
    else:
        sentence = (
            f"{gate.metric} is {word} {gate.bound:g} on all {len(found)} slices; the worst is {worst.candidate:.4f}, "
            f"where {worst.name} ({worst.rows:,} rows)."
        )
    return verdict(gate.kind, gate.metric, worst.candidate, gate.bound, passed=not below, sentence=sentence)


@weigh.register
def _slice_not_worse(gate: NoInferiorSlice, evidence: Evidence) -> GateResult:
    told = evidence.evaluation
    if told.champion_version is None:
        sentence = "There is no champion yet to be worse than on any slice."
        return verdict(gate.kind, gate.metric, None, None, passed=True, sentence=sentence)
    found = [each for each in _slices(evidence, gate.metric, gate.feature) if each.difference is not None]
    if not found:
        why = told.champion_note or "no declared slice has enough rows for a comparison with the champion"
        return not_measured(gate.kind, gate.metric, None, why)
    tested = sorted(
        (worse_by(gate.metric, each.difference, gate.margin), each.name) for each in found if each.difference
    )
    # Holm (1979): the smallest p-value times the number of tests decides whether any is below the level.
    smallest, name = min(1.0, tested[0][0] * len(tested)), tested[0][1]
    worst = next(each for each in found if each.name == name)
    gap = gain(gate.metric, worst.difference.value) if worst.difference else 0.0
    passed = smallest >= gate.level
    shown = "is not shown" if passed else "is shown"
    sentence = (
        f"Of {len(found)} slices, the candidate stands worst where {name} ({worst.rows:,} rows): {gate.metric} "
        f"{worst.candidate:.4f} against the champion's {worst.champion:.4f}. That it is worse by more than "
        f"{gate.margin:g} {shown} (p {smallest:.4f} after Holm's correction, level {gate.level:g})."
    )
    return verdict(gate.kind, gate.metric, gap, -gate.margin, passed=passed, sentence=sentence)


@weigh.register
def _fairness_gap(gate: FairnessGap, evidence: Evidence) -> GateResult:
    metric = f"{gate.rate} by {gate.feature}"
    groups = [each for each in evidence.evaluation.groups if each.feature == gate.feature]
    rates = {each.group: getattr(each, gate.rate) for each in groups if each.rows >= gate.fewest}
    known = {group: rate for group, rate in rates.items() if rate is not None}
    if len(known) < 2:
        return not_measured(gate.kind, metric, gate.bound, f"fewer than two groups have {gate.fewest:,} rows")
    least, most = min(known, key=lambda each: known[each]), max(known, key=lambda each: known[each])
    gap = known[most] - known[least]
    small = len(groups) - len(known)
    left_out = f" {small} group(s) with fewer than {gate.fewest:,} rows were left out." if small else ""
    sentence = (
        f"The {gate.rate.replace('_', ' ')} is {known[least]:.3f} where {least} and {known[most]:.3f} where {most}: "
        f"a gap of {gap:.3f}; at most {gate.bound:g} is allowed.{left_out}"
    )
    return verdict(gate.kind, metric, gap, gate.bound, passed=gap <= gate.bound, sentence=sentence)


def _slices(evidence: Evidence, metric: str, feature: str | None) -> list[SliceMetric]:
    found = [each for each in evidence.evaluation.slices if each.metric == metric]
    return [each for each in found if feature is None or each.features == (feature,)]
