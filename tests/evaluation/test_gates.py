"""Gates: what passes, what does not, and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.evaluation import decide
from include.records import Evaluation
from include.spec import (
    HIGHER_IS_BETTER,
    AtLeast,
    AtMost,
    BetterThanBaseline,
    MinimumLabels,
    NotWorseThanChampion,
)

ORIENTED = {True: sorted(HIGHER_IS_BETTER), False: ["brier", "log_loss", "mae", "rmse"]}


def compared(candidate: float = 0.7, baseline: float = 0.6, champion: float | None = None, **more) -> Evaluation:
    metric = more.pop("metric", "roc_auc")
    rival = {} if champion is None else {"champion": {metric: champion}, "champion_version": 3, "champion_fence": 4}
    return Evaluation(
        **(
            {"model": "m", "rows": 1000, "candidate": {metric: candidate}, "baseline": {metric: baseline}}
            | rival
            | more
        )
    )


@pytest.mark.parametrize(
    ("gate", "evaluation", "passed"),
    [
        (AtLeast(metric="roc_auc", bound=0.7), compared(0.7), True),
        (AtLeast(metric="roc_auc", bound=0.7), compared(0.699), False),
        (AtMost(metric="brier", bound=0.2), compared(0.2, metric="brier"), True),
        (AtMost(metric="brier", bound=0.2), compared(0.21, metric="brier"), False),
        (BetterThanBaseline(metric="roc_auc"), compared(0.61, 0.60), True),
        (BetterThanBaseline(metric="roc_auc"), compared(0.60, 0.60), False),
        (BetterThanBaseline(metric="roc_auc", margin=0.02), compared(0.61, 0.60), False),
        (BetterThanBaseline(metric="mae"), compared(0.5, 0.6, metric="mae"), True),
        (NotWorseThanChampion(metric="roc_auc", margin=0.01), compared(0.695, champion=0.70), True),
        (NotWorseThanChampion(metric="roc_auc", margin=0.01), compared(0.68, champion=0.70), False),
        (NotWorseThanChampion(metric="mae", margin=0.1), compared(0.65, champion=0.60, metric="mae"), True),
        (NotWorseThanChampion(metric="roc_auc"), compared(0.1), True),
        (MinimumLabels(rows=1000), compared(), True),
        (MinimumLabels(rows=1001), compared(), False),
    ],
)
def test_a_gate_lets_through_what_reaches_its_bound(gate, evaluation: Evaluation, passed: bool) -> None:
    decision = decide(evaluation, [gate])
    assert decision.accepted is passed
    assert bool(decision.reasons) is not passed


def test_one_closed_gate_is_enough_to_reject() -> None:
    decision = decide(compared(0.7), [AtLeast(metric="roc_auc", bound=0.6), MinimumLabels(rows=2000)])
    assert not decision.accepted
    assert decision.reasons == ("The holdout has 1,000 labelled rows; 2,000 are needed.",)


def test_what_could_not_be_measured_does_not_pass() -> None:
    decision = decide(compared(), [AtLeast(metric="r2", bound=-1.0)])
    assert decision.reasons == ("r2 could not be measured on the holdout, so it cannot pass.",)


def test_a_champion_that_cannot_answer_the_holdout_closes_the_gate_and_says_why() -> None:
    evaluation = compared(champion_version=3, champion_note="it needs feature(s) that features.sql no longer gives: x")
    decision = decide(evaluation, [NotWorseThanChampion(metric="roc_auc", margin=1.0)])
    assert decision.reasons == (
        "The champion, version 3, cannot be compared: it needs feature(s) that features.sql no longer gives: x.",
    )


def test_a_sentence_names_figure_bound_and_rival() -> None:
    decision = decide(compared(0.68, champion=0.70), [NotWorseThanChampion(metric="roc_auc", margin=0.01)])
    assert decision.reasons == (
        "roc_auc is 0.6800; it must be at least 0.6900 (champion (version 3) less the margin of 0.01).",
    )


figures = st.floats(0, 1, allow_nan=False)


@given(upward=st.booleans(), data=st.data(), figure=figures, gain=figures, rival=figures, margin=st.floats(0, 0.5))
def test_a_better_figure_never_turns_a_pass_into_a_fail(upward, data, figure, gain, rival, margin) -> None:
    metric = data.draw(st.sampled_from(ORIENTED[upward]))
    gates = [
        AtLeast(metric=metric, bound=rival) if upward else AtMost(metric=metric, bound=rival),
        BetterThanBaseline(metric=metric, margin=margin),
        NotWorseThanChampion(metric=metric, margin=margin),
    ]
    better = figure + gain if upward else figure - gain
    worse_gates = decide(compared(figure, rival, rival, metric=metric), gates).gates
    better_gates = decide(compared(better, rival, rival, metric=metric), gates).gates
    assert all(after.passed or not before.passed for before, after in zip(worse_gates, better_gates, strict=True))
