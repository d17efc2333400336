"""Gates: figures in, a decision out. Deciding is a function of its inputs alone."""

from __future__ import annotations

from collections.abc import Sequence

from include.records import Decision, Evaluation, GateResult
from include.spec import (
    HIGHER_IS_BETTER,
    AtLeast,
    AtMost,
    BetterThanBaseline,
    MinimumLabels,
    NotWorseThanChampion,
)

AnyGate = AtLeast | AtMost | BetterThanBaseline | NotWorseThanChampion | MinimumLabels


def decide(evaluation: Evaluation, gates: Sequence[AnyGate]) -> Decision:
    """Weigh a candidate: accepted when every gate lets it through.

    A gate whose figure is missing does not let it through: what was not measured was not passed.
    """
    results = tuple(_weigh(evaluation, gate) for gate in gates)
    return Decision(accepted=all(result.passed for result in results), gates=results)


def _weigh(evaluation: Evaluation, gate: AnyGate) -> GateResult:
    if isinstance(gate, MinimumLabels):
        return _minimum_labels(evaluation, gate)
    if isinstance(gate, NotWorseThanChampion):
        return _not_worse_than_champion(evaluation, gate)
    figure = evaluation.candidate.get(gate.metric)
    if isinstance(gate, BetterThanBaseline):
        rival = evaluation.baseline.get(gate.metric)
        return _result(gate, figure, None if rival is None else _bettered(gate.metric, rival, gate.margin), "baseline")
    return _result(gate, figure, gate.bound, "bound")


def _not_worse_than_champion(evaluation: Evaluation, gate: NotWorseThanChampion) -> GateResult:
    if evaluation.champion_version is None:
        return _verdict(gate.kind, gate.metric, None, None, True, "There is no champion yet to be worse than.")
    if evaluation.champion is None:
        note = evaluation.champion_note or "it was not evaluated"
        sentence = f"The champion, version {evaluation.champion_version}, cannot be compared: {note}."
        return _verdict(gate.kind, gate.metric, None, None, False, sentence)
    rival = evaluation.champion.get(gate.metric)
    bound = None if rival is None else _bettered(gate.metric, rival, -gate.margin)
    against = f"champion (version {evaluation.champion_version}) less the margin of {gate.margin:g}"
    return _result(gate, evaluation.candidate.get(gate.metric), bound, against)


def _minimum_labels(evaluation: Evaluation, gate: MinimumLabels) -> GateResult:
    enough = evaluation.rows >= gate.rows
    sentence = f"The holdout has {evaluation.rows:,} labelled rows; {gate.rows:,} are needed."
    return _verdict(gate.kind, "rows", float(evaluation.rows), float(gate.rows), enough, sentence)


def _result(gate: AnyGate, figure: float | None, bound: float | None, against: str) -> GateResult:
    """Hold `figure` against `bound`: strictly better is asked only where a rival is to be beaten."""
    metric = getattr(gate, "metric", "")
    if figure is None or bound is None:
        sentence = f"{metric} could not be measured on the holdout, so it cannot pass."
        return _verdict(gate.kind, metric, figure, bound, False, sentence)
    upward = gate.kind == "at_least" or (gate.kind != "at_most" and metric in HIGHER_IS_BETTER)
    if gate.kind == "better_than_baseline":
        passed, word = (figure > bound, "above") if upward else (figure < bound, "below")
    else:
        passed, word = (figure >= bound, "at least") if upward else (figure <= bound, "at most")
    sentence = f"{metric} is {figure:.4f}; it must be {word} {bound:.4f} ({against})."
    return _verdict(gate.kind, metric, figure, bound, passed, sentence)


def _bettered(metric: str, value: float, margin: float) -> float:
    return value + margin if metric in HIGHER_IS_BETTER else value - margin


def _verdict(
    kind: str, metric: str, figure: float | None, bound: float | None, passed: bool, sentence: str
) -> GateResult:
    return GateResult(gate=kind, metric=metric, figure=figure, bound=bound, passed=passed, sentence=sentence)
