"""The gate on the differences between the candidate's predictions and the champion's."""

from __future__ import annotations

from include.evaluation.gates.base import evaluate_gate, no_champion, not_measured, result
from include.inference import check_bounds
from include.records import Evidence, GateResult
from include.spec import PredictionChurn


@evaluate_gate.register
def _prediction_churn(gate: PredictionChurn, evidence: Evidence) -> GateResult:
    evaluation = evidence.evaluation
    if evaluation.champion_version is None:
        return no_champion(gate.kind, "prediction churn")
    if evaluation.divergence is None:
        why = evaluation.champion_note or "the predictions were not compared with the champion's"
        return not_measured(gate.kind, "prediction churn", None, why)
    held = check_bounds(gate, evaluation.divergence)
    compared = [(shown.metric, shown.value, shown.bound) for shown in held]
    shown = next((each for each in held if not each.passed), held[0])
    values = ", ".join(f"{metric} {_formatted(metric, value)}" for metric, value, _ in compared)
    limits = ", ".join(f"{metric} {_limit(metric, limit)}" for metric, _, limit in compared)
    return result(
        gate.kind, shown.metric, shown.value, shown.bound, passed=all(each.passed for each in held),
        found=f"{evaluation.rows:,} rows compared with the champion (version {evaluation.champion_version}): {values}",
        limits=f"limits: {limits}",
    )  # fmt: skip


def _formatted(metric: str, value: float | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.4f}" if metric == "rank correlation" else f"{value:.2%}"


def _limit(metric: str, limit: float) -> str:
    return f"at least {limit:g}" if metric == "rank correlation" else f"at most {limit:.2%}"
