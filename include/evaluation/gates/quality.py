"""Gates on how good the answers are."""

from __future__ import annotations

from statistics import median

from include.evaluation.gates.base import compared_in_words, gain, not_measured, surely_gained, verdict, weigh
from include.records import Evidence, GateResult
from include.spec import (
    HIGHER_IS_BETTER,
    AtLeast,
    AtMost,
    BetterThanBaseline,
    Calibration,
    NonInferiority,
    Superiority,
    WithinHistory,
)

TO_DEVIATION = 1.4826  # of a normal distribution, from the median absolute deviation


@weigh.register
def _at_least(gate: AtLeast, evidence: Evidence) -> GateResult:
    return _bounded(gate.kind, gate.metric, gate.bound, gate.on, evidence, upward=True)


@weigh.register
def _at_most(gate: AtMost, evidence: Evidence) -> GateResult:
    return _bounded(gate.kind, gate.metric, gate.bound, gate.on, evidence, upward=False)


@weigh.register
def _calibrated(gate: Calibration, evidence: Evidence) -> GateResult:
    found = _bounded(gate.kind, "ece", gate.error, gate.on, evidence, upward=False)
    if found.figure is None or found.passed:
        return found
    sentence = (
        f"The probabilities are not calibrated: they are off by {found.figure:.4f} on average (ece); "
        f"at most {gate.error:g} is allowed."
    )
    return found.model_copy(update={"sentence": sentence})


@weigh.register
def _better_than_baseline(gate: BetterThanBaseline, evidence: Evidence) -> GateResult:
    told, metric = evidence.evaluation, gate.metric
    ours, rival = told.candidate.get(metric), told.baseline.get(metric)
    if ours is None or rival is None:
        return not_measured(gate.kind, metric, None)
    if gate.level is not None:
        difference = told.baseline_differences.get(metric)
        if difference is None:
            return not_measured(gate.kind, metric, None, "its difference to the baseline has no interval")
        sure = surely_gained(metric, difference, gate.level)
        sentence = (
            f"{metric} is {ours:.4f}, {compared_in_words(ours - rival)} the baseline's {rival:.4f}; with "
            f"{1 - gate.level:.1%} confidence it is {_at_worst(sure)}, and better by more than "
            f"{gate.margin:g} is asked."
        )
        return verdict(gate.kind, metric, sure, gate.margin, passed=sure > gate.margin, sentence=sentence)
    upward = METRICS[metric].higher_is_better
    bound = rival + gain(metric, gate.margin)
    passed = ours > bound if upward else ours < bound
    sentence = f"{metric} is {ours:.4f}; it must be {'above' if upward else 'below'} {bound:.4f} (baseline)."
    return verdict(gate.kind, metric, ours, bound, passed=passed, sentence=sentence)


@weigh.register
def _not_worse_than_champion(gate: NonInferiority, evidence: Evidence) -> GateResult:
    return _against_champion(gate.kind, gate.metric, -gate.margin, gate.level, evidence, strictly=False)


@weigh.register
def _better_than_champion(gate: Superiority, evidence: Evidence) -> GateResult:
    return _against_champion(gate.kind, gate.metric, gate.by, gate.level, evidence, strictly=True)


@weigh.register
def _usual_for_model(gate: WithinHistory, evidence: Evidence) -> GateResult:
    metric, ours = gate.metric, evidence.evaluation.candidate.get(gate.metric)
    if ours is None:
        return not_measured(gate.kind, metric, None)
    past = [each[metric] for each in evidence.history if metric in each]
    if len(past) < gate.fewest:
        sentence = (
            f"{metric} has no history yet: {len(past)} accepted version(s) measured it, {gate.fewest} are needed."
        )
        return verdict(gate.kind, metric, ours, None, passed=True, sentence=sentence)
    middle = median(past)
    spread = max(TO_DEVIATION * median(abs(each - middle) for each in past), gate.least_spread)
    bound = middle - gain(metric, gate.deviations * spread)
    distance = gain(metric, ours - middle) / spread
    word = "at least" if METRICS[metric].higher_is_better else "at most"
    sentence = (
        f"{metric} is {ours:.4f}, {distance:+.1f} robust deviations from the median {middle:.4f} of {len(past)} "
        f"accepted versions; it must be {word} {bound:.4f}."
    )
    return verdict(gate.kind, metric, ours, bound, passed=distance >= -gate.deviations, sentence=sentence)


def _bounded(kind: str, metric: str, bound: float, on: str, evidence: Evidence, *, upward: bool) -> GateResult:
    told = evidence.evaluation
    figure, of = told.candidate.get(metric), metric
    if on == "interval":
        interval = told.intervals.get(metric)
        figure = None if interval is None or figure is None else interval.low if upward else interval.high
        of = f"the {'low' if upward else 'high'} end of the {told.level:.0%} interval of {metric}"
    if figure is None:
        return not_measured(kind, metric, bound)
    passed = figure >= bound if upward else figure <= bound
    sentence = f"{of} is {figure:.4f}; it must be {'at least' if upward else 'at most'} {bound:.4f} (bound)."
    return verdict(
        kind,
        metric,
        figure,
        bound,
        passed=passed,
        sentence=sentence[:1].upper() + sentence[1:] if of != metric else sentence,
    )


def _against_champion(
    kind: str, metric: str, wanted: float, level: float, evidence: Evidence, *, strictly: bool
) -> GateResult:
    """Hold the lower one-sided confidence bound of the gain over the champion against what is wanted."""
    told = evidence.evaluation
    if told.champion_version is None:
        return verdict(kind, metric, None, None, passed=True, sentence="There is no champion yet to be worse than.")
    if told.champion is None:
        note = told.champion_note or "it was not evaluated"
        sentence = f"The champion, version {told.champion_version}, cannot be compared: {note}."
        return verdict(kind, metric, None, None, passed=False, sentence=sentence)
    difference = told.differences.get(metric)
    if difference is None:
        why = "no interval of its difference to the champion can be told from these rows"
        return not_measured(kind, metric, wanted, why)
    sure = surely_gained(metric, difference, level)
    passed = sure > wanted if strictly else sure >= wanted
    asked = f"better by more than {wanted:g} is asked" if strictly else f"worse by at most {-wanted:g} is allowed"
    sentence = (
        f"{metric} is {told.candidate[metric]:.4f}, {compared_in_words(difference.value)} that of the champion "
        f"(version {told.champion_version}, {told.champion[metric]:.4f}); with {1 - level:.1%} confidence it is "
        f"{_at_worst(sure)}, and {asked}."
    )
    return verdict(kind, metric, sure, wanted, passed=passed, sentence=sentence)


def _at_worst(sure: float) -> str:
    if sure == 0:
        return "no worse"
    return f"better by {sure:.4f} at least" if sure > 0 else f"worse by {-sure:.4f} at most"
