"""Deadlines of a declaration: what can be declared, and what follows without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from include.errors import SpecError
from include.spec import ApprovalPolicy, Freshness, Target
from include.spec.freshness import default_champion_max_age, longest_interval
from tests.builders import SPEC, declare_model
from tests.watching.states import DAY, HOUR, declared


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("freshness=Freshness(scores_by=6)", "expected a time by the clock of score_timezone, such as '06:00'"),
        ("freshness=Freshness(scores_by='6:00')", "such as '06:00', or a duration"),
        ("freshness=Freshness(scores_by='24:00')", "found '24:00'"),
        ("freshness=Freshness(scores_by=timedelta(0))", "at most 31 days"),
        ("freshness=Freshness(champion_max_age=30)", "timedelta"),
        ("freshness=Freshness(rejected_in_a_row=0)", "rejected_in_a_row"),
        ("freshness=Freshness(scores='06:00')", "scores"),
        ("score_schedule=None, freshness=Freshness(scores_by='06:00')", "scores_by is for scheduled runs"),
        (
            "freshness=Freshness(scores_by=timedelta(hours=1)), score_start=ScoreStart(delay=timedelta(hours=2))",
            "scores_by must come after the latest start of a run, 2:00:00 after the end",
        ),
        (
            "freshness=Freshness(scores_by='01:30'), score_start=ScoreStart(delay=timedelta(hours=2))",
            "found a time 1:30:00 after it, with the schedule '0 0 \\* \\* \\*'",
        ),
        ("freshness=Freshness(approval_within=timedelta(hours=1))", "approval_within is for models with an approval"),
        (
            "freshness=Freshness(approval_within=timedelta(days=2)), approval=ApprovalPolicy()",
            "must be shorter than the timeout of the approval, 2 days",
        ),
        (
            "freshness=Freshness(labels_by=timedelta(days=1)), target=Target(column='late', label_delay=timedelta(2))",
            "labels_by must be longer than the target's label_delay, 2 days",
        ),
    ],
)
def test_deadlines_that_cannot_be_are_refused_at_declaration(tmp_path: Path, fields: str, said: str) -> None:
    text = SPEC.replace("    score_schedule=None,\n", "")
    if "target=" in fields:
        text = text.replace('    target=Target(column="outcome", classes=("on_time", "late")),\n', "")
    text = text.replace("    retrain_schedule=None,", f"    retrain_schedule=None, {fields},")
    with pytest.raises(SpecError, match=said):
        declare_model(tmp_path, spec=text)


@pytest.mark.parametrize(
    ("cron", "days"), [("0 4 * * *", 1), ("0 4 * * 1", 7), ("0 4 * * 1-5", 3), ("0 0 1 * *", 31), ("0 */6 * * *", 0.25)]
)
def test_the_longest_interval_of_a_schedule(cron: str, days: float) -> None:
    assert longest_interval(cron) == days * DAY
    assert default_champion_max_age(cron, 2 * DAY) == 3 * days * DAY + 3 * DAY


def test_a_champion_may_be_as_old_as_declared_or_as_its_schedule_makes_it() -> None:
    assert declared().champion_max_age == 22 * DAY
    assert declared(target=Target(column="delay", label_delay=DAY)).champion_max_age == 23 * DAY
    assert declared(freshness=Freshness(champion_max_age=30 * DAY)).champion_max_age == 30 * DAY
    assert declared(retrain_schedule=None).champion_max_age is None


def test_an_approval_may_wait_for_a_day_or_half_its_timeout() -> None:
    assert declared(approval=ApprovalPolicy()).approval_within == 24 * HOUR
    assert declared(approval=ApprovalPolicy(timeout=DAY)).approval_within == 12 * HOUR
    within = Freshness(approval_within=timedelta(hours=3))
    assert declared(approval=ApprovalPolicy(), freshness=within).approval_within == 3 * HOUR
