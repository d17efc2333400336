"""Gates on parts of the rows."""

from __future__ import annotations

from include.evaluation.gates.base import evaluate_gate, no_champion, not_measured, result
from include.evaluation.gates.quality import excess
from include.evaluation.slices import worse_by
from include.records import Evidence, GateResult, SliceMetric
from include.spec import METRICS, FairnessGap, NoInferiorSlice, SliceThreshold

MAX_NAMED = 3


@evaluate_gate.register
def _slice_threshold(gate: SliceThreshold, evidence: Evidence) -> GateResult:
    slices = _slices(evidence, gate.metric, gate.feature)
    if not slices:
        limit = gate.maximum if gate.minimum is None else gate.minimum
        return not_measured(gate.kind, gate.metric, limit, "no declared slice has enough rows")
    ordered = sorted(slices, key=lambda each: -excess(gate, each.candidate)[0])
    beyond = [each for each in ordered if excess(gate, each.candidate)[0] > 0]
    worst = ordered[0]
    shown = beyond[:MAX_NAMED] or [worst]
    named = ", ".join(f"{each.candidate:.4f} where {each.name} ({each.rows:,} rows)" for each in shown)
    count = f"{len(beyond)} of {len(slices)} slices beyond the limit" if beyond else f"worst of {len(slices)} slices"
    return result(
        gate.kind, gate.metric, worst.candidate, excess(gate, worst.candidate)[1], passed=not beyond,
        found=f"{gate.metric}: {count}: {named}", limits=f"limit {gate.limits}",
    )  # fmt: skip


@evaluate_gate.register
def _no_inferior_slice(gate: NoInferiorSlice, evidence: Evidence) -> GateResult:
    evaluation = evidence.evaluation
    if evaluation.champion_version is None:
        return no_champion(gate.kind, gate.metric)
    slices = [each for each in _slices(evidence, gate.metric, gate.feature) if each.difference is not None]
    if not slices:
        why = evaluation.champion_note or "no declared slice has enough rows for a comparison with the champion"
        return not_measured(gate.kind, gate.metric, None, why)
    tested = sorted(
        (worse_by(gate.metric, each.difference, gate.margin), each.name) for each in slices if each.difference
    )
    # Holm (1979): the smallest p-value times the number of tests decides whether any is below alpha.
    smallest, name = min(1.0, tested[0][0] * len(tested)), tested[0][1]
    worst = next(each for each in slices if each.name == name)
    difference = worst.difference.value if worst.difference else 0.0
    return result(
        gate.kind, gate.metric, METRICS[gate.metric].gain(difference), -gate.margin, passed=smallest >= gate.alpha,
        found=(
            f"{gate.metric}, worst of {len(slices)} slices, where {name} ({worst.rows:,} rows): candidate "
            f"{worst.candidate:.4f}, champion (version {evaluation.champion_version}) {worst.champion:.4f}, difference "
            f"{difference:+.4f} (p {smallest:.4f} for a loss beyond {gate.margin:g}, Holm's correction)"
        ),
        limits=f"limit p at least {gate.alpha:g}",
    )  # fmt: skip


@evaluate_gate.register
def _fairness_gap(gate: FairnessGap, evidence: Evidence) -> GateResult:
    metric = f"{gate.rate} by {gate.feature}"
    groups = [each for each in evidence.evaluation.groups if each.feature == gate.feature]
    rates = {each.group: getattr(each, gate.rate) for each in groups if each.rows >= gate.min_rows}
    known = {group: rate for group, rate in rates.items() if rate is not None}
    if len(known) < 2:
        why = f"fewer than two groups have {gate.min_rows:,} rows"
        return not_measured(gate.kind, metric, gate.max_difference, why)
    lowest, highest = min(known, key=lambda each: known[each]), max(known, key=lambda each: known[each])
    difference = known[highest] - known[lowest]
    small = len(groups) - len(known)
    left_out = f" ({small} group(s) with fewer than {gate.min_rows:,} rows left out)" if small else ""
    return result(
        gate.kind, metric, difference, gate.max_difference, passed=difference <= gate.max_difference,
        found=(
            f"{gate.rate.replace('_', ' ')}: {known[lowest]:.3f} where {lowest}, {known[highest]:.3f} where {highest}, "
            f"difference {difference:.3f}{left_out}"
        ),
        limits=f"limit {gate.max_difference:g}",
    )  # fmt: skip


def _slices(evidence: Evidence, metric: str, feature: str | None) -> list[SliceMetric]:
    found = [each for each in evidence.evaluation.slices if each.metric == metric]
    return [each for each in found if feature is None or each.features == (feature,)]
