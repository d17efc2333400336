"""Each planted fault is found as one problem of its kind, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.records import Problem
from include.spec import ApprovalPolicy, Freshness
from include.watching import KINDS, find_problems, pages, unjudged_kinds
from include.watching.state import (
    DagState,
    HoldState,
    Publications,
    RefusedArtifact,
    ServedVersion,
    VersionState,
    WatchState,
)
from tests.watching import faults
from tests.watching.faults import OF_A_MODEL, OF_ALL
from tests.watching.states import DAY, HOUR, MINUTE, NOW, SINCE, declared, healthy, with_ledger, with_service

SECOND = timedelta(seconds=1)
LABELS = Freshness(labels_by=3 * DAY)
NAMES = [f"model_{number}" for number in range(6)]


def kinds(state: WatchState, now=NOW) -> list[tuple[str, str | None]]:
    return [(problem.kind, problem.model) for problem in find_problems(state, now)]


def only(state: WatchState, now=NOW) -> Problem:
    [problem] = find_problems(state, now)
    return problem


def parcels(**fields: object) -> WatchState:
    return healthy(declared(**{"freshness": LABELS, **fields}))


def test_nothing_wrong_is_no_problem() -> None:
    assert find_problems(parcels(), NOW) == ()
    assert find_problems(WatchState(), NOW) == ()
    assert not unjudged_kinds(parcels())


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_fault_of_a_model_is_one_problem(name: str) -> None:
    plant, kind = OF_A_MODEL[name]
    problem = only(plant(parcels(), "parcels", NOW))
    assert (problem.kind, problem.model, problem.severity) == (kind, "parcels", KINDS[kind].severity)
    assert "parcels" in problem.summary
    assert problem.impact
    assert "`" in problem.next_step or kind == "late_labels"
    assert problem.subjects
    assert problem.since <= NOW


@pytest.mark.parametrize("name", OF_ALL)
def test_a_fault_of_everything_is_one_problem(name: str) -> None:
    plant, kind = OF_ALL[name]
    problem = only(plant(parcels(), NOW))
    assert (problem.kind, problem.model) == (kind, None)
    assert problem.severity == ("page" if name == "disk, nearly" else KINDS[kind].severity)
    assert problem.impact
    assert problem.subjects
    assert problem.since <= NOW


@given(
    st.lists(st.sampled_from([None, *OF_A_MODEL]), min_size=len(NAMES), max_size=len(NAMES)),
    st.sets(st.sampled_from(["triggerer", "disk", "alerts", "watcher"])),
)
def test_planted_faults_are_found_and_no_others(of_models: list[str | None], of_all: set[str]) -> None:
    state = healthy(*(declared(name, freshness=LABELS) for name in NAMES))
    wanted: set[tuple[str, str | None]] = set()
    for model, name in zip(NAMES, of_models, strict=True):
        if name is not None:
            plant, kind = OF_A_MODEL[name]
            state = plant(state, model, NOW)
            wanted.add((kind, model))
    for name in of_all:
        plant_all, kind = OF_ALL[name]
        state = plant_all(state, NOW)
        wanted.add((kind, None))
    found = kinds(state)
    assert set(found) == wanted
    assert len(found) == len(wanted)
    reordered = replace(state, specs=dict(reversed(state.specs.items())), broken=state.broken[::-1])
    assert find_problems(reordered, NOW) == find_problems(state, NOW)


def test_the_worst_comes_first() -> None:
    state = faults.stale(faults.late(healthy(declared("a"), declared("b")), "b", NOW), "a", NOW)
    state = faults.service_down(with_ledger(state, holds={"b": HoldState(SINCE, None, "ann", "a strike")}), NOW)
    found = find_problems(state, NOW)
    assert [(each.severity, each.kind) for each in found] == [
        ("page", "service_down"), ("page", "late_partition"), ("ticket", "stale_champion"), ("note", "promotion_held"),
    ]  # fmt: skip
    assert pages(found)
    assert not pages(found[2:])


# -- one cause, one problem --------------------------------------------------------------------------


def test_a_dead_scheduler_hides_what_is_late_since_and_nothing_from_before() -> None:
    state = faults.dead("scheduler")(faults.late(parcels(), "parcels", NOW, 1), NOW)
    assert kinds(state) == [("dead_scheduler", None), ("late_partition", "parcels")], "it was due at 06:00"
    assert state.airflow is not None
    longer = replace(state.airflow, heartbeats={**state.airflow.heartbeats, "scheduler": NOW - 8 * HOUR})
    assert kinds(replace(state, airflow=longer)) == [("dead_scheduler", None)]


@pytest.mark.parametrize("name", [name for name in OF_A_MODEL if name not in ("broken", "vanished")])
def test_a_broken_declaration_hides_everything_else_of_its_model(name: str) -> None:
    state = OF_A_MODEL[name][0](parcels(), "parcels", NOW)
    assert kinds(faults.broken(state, "parcels", NOW)) == [("broken_declaration", "parcels")]


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_dead_database_hides_all_that_is_read_from_it(name: str) -> None:
    state = faults.database_down(OF_A_MODEL[name][0](parcels(), "parcels", NOW), NOW)
    found = kinds(state)
    assert found[0] == ("database_down", None)
    assert {kind for kind, _ in found[1:]} <= {"broken_declaration", "late_labels"}
    assert unjudged_kinds(state) >= {"late_partition", "stale_champion", "paused_dag", "version_mismatch"}


def test_a_dead_dag_processor_or_an_import_error_hides_missing_dags() -> None:
    state = faults.missing(parcels(), "parcels", NOW)
    assert kinds(faults.dead("dag_processor")(state, NOW)) == [("dead_dag_processor", None)]
    assert kinds(faults.import_error(state, NOW)) == [("import_error", None)]


def test_a_service_that_is_down_serves_no_wrong_version() -> None:
    state = faults.service_down(faults.mismatch(parcels(), "parcels", NOW), NOW)
    assert kinds(state) == [("service_down", None)]
    assert unjudged_kinds(state) == {"version_mismatch", "refused_artifact"}


def test_a_hold_hides_an_old_champion_and_is_a_note() -> None:
    state = faults.stale(parcels(), "parcels", NOW)
    held = with_ledger(state, holds={"parcels": HoldState(SINCE, NOW + DAY, "ann", "the strike is not over")})
    problem = only(held)
    assert (problem.kind, problem.severity) == ("promotion_held", "note")
    assert "ann holds the promotions of parcels until 2026-03-11 12:00 UTC: the strike is not over" in problem.summary


# -- what needs nobody -------------------------------------------------------------------------------


def test_a_part_that_is_not_expected_is_never_missed() -> None:
    state = faults.service_down(faults.dead("scheduler")(parcels(), NOW), NOW)
    assert kinds(replace(state, expected=frozenset())) == []


@pytest.mark.parametrize(("seconds", "found"), [(5, []), (20, [("database_down", None)])])
def test_a_database_that_restarts_is_no_problem(seconds: int, found: list[tuple[str, None]]) -> None:
    state = replace(faults.database_down(parcels(), NOW), ledger_read_at=NOW - seconds * SECOND)
    assert kinds(state) == found
    assert "late_partition" in unjudged_kinds(state)


@pytest.mark.parametrize(("seconds", "found"), [(20, []), (40, [("service_down", None)])])
def test_a_service_that_restarts_is_no_problem(seconds: int, found: list[tuple[str, None]]) -> None:
    assert kinds(with_service(faults.service_down(parcels(), NOW), answered_at=NOW - seconds * SECOND)) == found


def test_after_a_start_processes_have_a_minute() -> None:
    state = faults.service_down(faults.dead("scheduler")(parcels(), NOW), NOW)
    state = with_service(state, answered_at=None)
    assert kinds(replace(state, began=NOW - 20 * SECOND)) == []
    assert kinds(replace(state, began=NOW - 90 * SECOND)) == [("dead_scheduler", None), ("service_down", None)]
    assert kinds(replace(state, began=None)) == [("dead_scheduler", None), ("service_down", None)]


@pytest.mark.parametrize(("seconds", "found"), [(30, []), (90, [("version_mismatch", "parcels")])])
def test_a_promotion_has_a_minute_to_reach_the_service(seconds: int, found: list[tuple[str, str]]) -> None:
    state = faults.champion(parcels(), "parcels", version=2, since=NOW - seconds * SECOND)
    assert kinds(state) == found


def test_a_pinned_service_and_one_that_loads_are_no_mismatch() -> None:
    state = faults.mismatch(parcels(), "parcels", NOW)
    for served, found in (
        (ServedVersion("pinned", 1, "serving version 1, as pinned", SINCE), []),
        (ServedVersion("loading", None, "", NOW - 20 * SECOND), []),
        (ServedVersion("loading", None, "", None), []),
        (ServedVersion("loading", None, "", NOW - 2 * MINUTE), [("version_mismatch", "parcels")]),
    ):
        assert kinds(with_service(state, models={"parcels": served})) == found


def test_a_refusal_ends_when_the_service_serves_the_version() -> None:
    refusal = {"parcels": RefusedArtifact(1, NOW - HOUR, "digest of model.onnx differs")}
    assert kinds(with_ledger(parcels(), refused=refusal)) == []
    alone = replace(with_ledger(parcels(), refused=refusal), expected=frozenset())
    assert kinds(alone) == [("refused_artifact", "parcels")], "the alert alone tells, where there is no service to ask"


def test_a_new_model_has_a_day_for_its_first_champion_and_minutes_for_its_dags() -> None:
    state = faults.none(parcels(), "parcels", NOW)
    new = replace(state, declared_since={"parcels": NOW - 2 * HOUR})
    assert kinds(new) == []
    assert kinds(faults._dag(new, "score_parcels", None)) == [("missing_dag", "parcels")]
    newest = replace(new, declared_since={"parcels": NOW - 2 * MINUTE})
    assert kinds(faults._dag(newest, "score_parcels", None)) == []


def test_a_model_that_is_run_by_hand_misses_nothing() -> None:
    spec = declared(score_schedule=None, retrain_schedule=None)
    state = faults.stale(healthy(spec), "parcels", NOW)
    assert kinds(state) == []
    assert kinds(faults.none(state, "parcels", NOW)) == []
    dag = DagState(paused=True)
    assert kinds(faults._dag(faults._dag(state, "score_parcels", dag), "retrain_parcels", dag)) == []


def test_a_partition_is_not_late_before_its_deadline() -> None:
    spec = declared(freshness=Freshness(scores_by="06:00"))
    yesterday = NOW.replace(hour=5)
    state = faults.late(healthy(spec, now=yesterday), "parcels", yesterday, 0)
    assert kinds(state, yesterday) == []
    late = only(faults.late(healthy(spec, now=NOW.replace(hour=7)), "parcels", NOW, 1), NOW.replace(hour=7))
    assert late.subjects == ("2026-03-09T00:00Z",)
    assert late.since == NOW.replace(hour=6)


def test_partitions_of_another_schedule_cover_those_of_the_present_one() -> None:
    state = healthy(declared(score_schedule="0 0 * * *"))
    hourly = declared(score_schedule="0 * * * *", freshness=Freshness(scores_by=DAY))
    assert kinds(replace(state, specs={"parcels": hourly})) == []
    in_hours = Publications(((SINCE, NOW),), NOW - HOUR, NOW, 1)
    assert kinds(with_ledger(state, publications={"parcels": in_hours})) == []


def test_rejections_count_from_the_last_version_that_passed_or_was_promoted() -> None:
    def version(number: int, **fields: bool) -> VersionState:
        return VersionState(number, NOW, **{"accepted": False, "promoted": False, **fields})

    state = parcels()
    two = faults.versions(state, "parcels", version(3), version(2))
    assert kinds(two) == []
    forced = faults.versions(state, "parcels", version(5), version(4), version(3, promoted=True), version(2))
    assert kinds(forced) == []
    assert kinds(faults.versions(state, "parcels", version(4), version(3), version(2))) == [
        ("rejected_often", "parcels")
    ]


# -- sentences ---------------------------------------------------------------------------------------


def test_late_partitions_are_named_with_the_command_that_scores_them() -> None:
    problem = only(faults.late(parcels(), "parcels", NOW, 2))
    assert problem.summary == (
        "2 partitions of parcels are not published: 2026-03-08T00:00Z to 2026-03-09T00:00Z; the first due "
        "2026-03-09 06:00 UTC, 30 hours ago."
    )
    assert problem.impact == "The newest partition of scores.parcels is 2026-03-07T00:00Z, scored by version 1."
    assert "`sluice score parcels --partition 2026-03-08T00:00Z --to 2026-03-09T00:00Z`" in problem.next_step
    assert problem.subjects == ("2026-03-08T00:00Z", "2026-03-09T00:00Z")
    assert problem.since == NOW - 30 * HOUR


def test_holes_are_named_with_the_command_that_fills_them() -> None:
    problem = only(faults.hole(parcels(), "parcels", NOW))
    assert problem.summary == "1 partition of parcels is missing between published ones: 2026-02-21T00:00Z."
    assert "`sluice backfill parcels --from 2026-02-21T00:00Z --to 2026-02-21T00:00Z`" in problem.next_step


def test_an_approval_has_its_declared_time() -> None:
    spec = declared(approval=ApprovalPolicy(timeout=20 * HOUR))
    state = faults.versions(
        healthy(spec),
        "parcels",
        VersionState(2, NOW - 11 * HOUR, accepted=True, promoted=False, waits_for_approval=True),
    )
    problem = only(state)
    assert "Version 2 of parcels has waited for an approval for 11 hours. Limit: 10 hours." in problem.summary
    assert "`sluice approve parcels 2 --comment" in problem.next_step


def test_the_age_of_a_champion_has_its_limit_with_it() -> None:
    problem = only(faults.stale(parcels(), "parcels", NOW))
    assert "version 1, knows data until 2026-01-29 12:00 UTC: 40 days ago. Limit: 22 days." in problem.summary
    assert problem.since == NOW - 18 * DAY
