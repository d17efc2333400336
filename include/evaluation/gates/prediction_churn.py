"""The gate on how far the candidate's answers are from the champion's."""

from __future__ import annotations

from include.evaluation.gates.base import not_measured, verdict, weigh
from include.inference import check_bounds
from include.records import Evidence, GateResult
from include.spec import Divergence


@weigh.register
def _divergence(gate: Divergence, evidence: Evidence) -> GateResult:
    told = evidence.evaluation
    if told.champion_version is None:
        sentence = "There is no champion yet to diverge from."
        return verdict(gate.kind, "divergence", None, None, passed=True, sentence=sentence)
    if told.divergence is None:
        why = told.champion_note or "its answers were not held against the champion's"
        return not_measured(gate.kind, "divergence", None, why)
    held = check_bounds(gate, told.divergence)
    shown = next((each for each in held if not each.passed), held[0])
    sentence = (
        f"On {told.rows:,} rows beside the champion (version {told.champion_version}), "
        f"{', and '.join(each.description for each in held)}."
    )
    passed = all(each.passed for each in held)
    return verdict(gate.kind, shown.metric, shown.value, shown.bound, passed=passed, sentence=sentence)
