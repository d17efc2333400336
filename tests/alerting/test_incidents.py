"""One incident for each cause: opened, counted, told a few times, taken over, silenced, and ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from include.alerting import incidents
from include.alerting.formatting import problem_of
from include.errors import IncidentError
from include.records import Alert, Problem
from include.settings import REPOSITORY, Settings

NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROBLEM = Problem(
    kind="failed_score",
    model="iris",
    cause="score_iris.publish: #",
    severity="page",
    summary="score_iris.publish failed: disk full",
    subjects=("2026-02-28T00:00Z",),
    since=NOW,
)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


@pytest.fixture
def told(settings: Settings) -> Settings:
    return settings.model_copy(update={"alert_channels": {"default": "json://localhost", "pager": "json://localhost"}})


def messages(connection: Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute(text("SELECT channel, action, title FROM sluice.alert_message ORDER BY id"))
    return [tuple(row) for row in rows]


def alert(**changed: Any) -> Alert:
    values = {
        "model": "iris",
        "dag_id": "score_iris",
        "task_id": "publish",
        "run_id": "r1",
        "try_number": 3,
        "error": "DatabaseError: no space for 8192 bytes",
        "log_url": None,
        "at": NOW,
    }
    return Alert.model_validate(values | changed)


def test_ten_failures_of_one_cause_are_one_incident_with_two_messages(connection: Connection, told: Settings) -> None:
    for day in range(1, 11):
        error = f"DatabaseError: no space for {8192 * day} bytes"
        problem = problem_of(alert(subject=f"2026-02-{day:02}T00:00Z", error=error))
        found = incidents.report(connection, problem, told, NOW + day * HOUR)
    assert (found.occurrences, len(found.subjects)) == (10, 10)
    assert messages(connection) == [
        ("default", "trigger", "Sluice [page] model iris: failed score"),
        ("default", "update", "Sluice [page] model iris: failed score (10 times)"),
    ]


def test_10_000_failures_make_five_messages_at_most(connection: Connection, told: Settings) -> None:
    for _ in range(1_001):
        found = incidents.report(connection, PROBLEM, told, NOW)
    connection.execute(text("UPDATE sluice.incident SET occurrences = 9999"))
    found = incidents.report(connection, PROBLEM, told, NOW)
    incidents.resolve(connection, found.id, told, NOW + HOUR, "The disk has room.")
    assert found.occurrences == 10_000
    assert [action for _, action, _ in messages(connection)] == ["trigger", "update", "update", "update", "resolve"]


def test_other_errors_tasks_and_models_are_other_incidents(connection: Connection, told: Settings) -> None:
    others = [alert(), alert(error="ValueError: x"), alert(task_id="plan"), alert(model="pear", dag_id="score_pear")]
    found = {incidents.report(connection, problem_of(each), told, NOW).id for each in others}
    assert len(found) == 4


def test_an_incident_ends_when_every_partition_of_it_is_well(connection: Connection, told: Settings) -> None:
    for day in ("2026-02-27T00:00Z", "2026-02-28T00:00Z"):
        incidents.report(connection, PROBLEM.model_copy(update={"subjects": (day,)}), told, NOW)
    later = NOW + HOUR

    def ended(subject: str | None, **changed: Any) -> int:
        return len(incidents.settle(connection, ["score_iris."], subject, told, later, "It succeeded.", **changed))

    assert ended("2026-02-01T00:00Z") == 0
    assert ended("2026-02-28T00:00Z") == 0
    (left,) = incidents.list_incidents(connection)
    assert left.subjects == ("2026-02-27T00:00Z",)
    assert ended("2026-02-27T00:00Z", model="pear") == 0
    assert ended("2026-02-27T00:00Z", seen_before=NOW) == 0, "it was seen after the run began"
    assert ended("2026-02-27T00:00Z") == 1
    assert incidents.list_incidents(connection) == ()
    assert [action for _, action, _ in messages(connection)] == ["trigger", "resolve"]


def test_what_fails_again_after_its_end_is_another_incident(connection: Connection, told: Settings) -> None:
    first = incidents.report(connection, PROBLEM, told, NOW)
    incidents.resolve(connection, first.id, told, NOW, "It succeeded.")
    assert incidents.report(connection, PROBLEM, told, NOW).id != first.id


def test_a_person_who_acknowledges_is_told_only_of_the_end(connection: Connection, told: Settings) -> None:
    found = incidents.report(connection, PROBLEM, told, NOW)
    incidents.acknowledge(connection, found.id, "ada", "I am looking at the disk", NOW)
    for _ in range(20):
        incidents.report(connection, PROBLEM, told, NOW)
    incidents.resolve(connection, found.id, told, NOW, "It succeeded.")
    assert [action for _, action, _ in messages(connection)] == ["trigger", "resolve"]
    _, events = incidents.find_incident(connection, found.id)
    assert [(each.event, each.actor) for each in events] == [
        ("opened", None),
        ("acknowledged", "ada"),
        ("resolved", None),
    ]


def test_a_silence_tells_nobody_and_what_is_open_at_its_end_is_told_then(
    connection: Connection, told: Settings
) -> None:
    incidents.silence(connection, "iris", None, NOW + HOUR, "ada", "The disk is being replaced", NOW)
    incidents.report(connection, PROBLEM, told, NOW)
    other = incidents.report(connection, PROBLEM.model_copy(update={"model": "pear"}), told, NOW)
    assert [title for _, _, title in messages(connection)] == ["Sluice [page] model pear: failed score"]
    incidents.resolve(connection, other.id, told, NOW, "It succeeded.")
    assert incidents.report_what_was_silenced(connection, told, NOW + HOUR / 2) == 0
    assert incidents.report_what_was_silenced(connection, told, NOW + HOUR) == 1
    assert incidents.report_what_was_silenced(connection, told, NOW + HOUR) == 0
    assert messages(connection)[-1] == ("default", "trigger", "Sluice [page] model iris: failed score")


def test_an_incident_that_begins_and_ends_in_a_silence_is_told_to_nobody(
    connection: Connection, told: Settings
) -> None:
    incidents.silence(connection, None, "failed_score", NOW + HOUR, "ada", "The disk is being replaced", NOW)
    found = incidents.report(connection, PROBLEM, told, NOW)
    incidents.resolve(connection, found.id, told, NOW, "It succeeded.")
    assert incidents.report_what_was_silenced(connection, told, NOW + 2 * HOUR) == 0
    assert messages(connection) == []


def test_a_silence_can_be_lifted(connection: Connection, told: Settings) -> None:
    silence = incidents.silence(connection, None, None, NOW + HOUR, "ada", "The disk is being replaced", NOW)
    incidents.lift_silence(connection, silence.id, "ada", NOW)
    assert incidents.list_silences(connection, NOW) == ()
    with pytest.raises(IncidentError, match="expected the id of a silence in force"):
        incidents.lift_silence(connection, silence.id, "ada", NOW)
    with pytest.raises(IncidentError, match="in the future"):
        incidents.silence(connection, None, None, NOW, "ada", "The disk is being replaced", NOW)


def test_a_channel_gets_the_severities_that_it_takes(connection: Connection, told: Settings) -> None:
    paged = told.model_copy(update={"alert_severities": {"pager": ("page",), "default": ("ticket",)}})
    incidents.report(connection, PROBLEM, paged, NOW, ["pager"])
    incidents.report(connection, PROBLEM.model_copy(update={"severity": "ticket", "model": "a"}), paged, NOW, ["pager"])
    incidents.report(connection, PROBLEM.model_copy(update={"severity": "note", "model": "b"}), paged, NOW, ["pager"])
    assert [channel for channel, _, _ in messages(connection)] == ["pager", "default"]


def test_what_gets_worse_is_told_also_to_who_was_not(connection: Connection, told: Settings) -> None:
    paged = told.model_copy(update={"alert_severities": {"pager": ("page",)}})
    disk = PROBLEM.model_copy(update={"kind": "disk_filling", "severity": "ticket"})
    for severity in ("ticket", "page", "ticket"):
        problem = disk.model_copy(update={"severity": severity})
        incidents.watch(connection, [problem], ["disk_filling"], paged, NOW, {"iris": ["pager"]})
    assert [(channel, action) for channel, action, _ in messages(connection)] == [
        ("default", "trigger"),
        ("default", "update"),
        ("pager", "update"),
    ]
    (ended,) = incidents.watch(connection, [], ["disk_filling"], paged, NOW, {})
    assert ended.resolution == "It is no longer found."
    assert len(messages(connection)) == 5


def test_the_watcher_ends_only_what_it_looks_for(connection: Connection, told: Settings) -> None:
    incidents.report(connection, PROBLEM, told, NOW)
    assert incidents.watch(connection, [], ["late_partition"], told, NOW, {}) == ()
    assert len(incidents.list_incidents(connection)) == 1


@pytest.mark.parametrize("call", ["resolve", "acknowledge"])
def test_what_is_not_open_cannot_be_changed(connection: Connection, told: Settings, call: str) -> None:
    found = incidents.report(connection, PROBLEM, told, NOW)
    incidents.resolve(connection, found.id, told, NOW, "It succeeded.")

    def change(incident: int) -> None:
        if call == "resolve":
            incidents.resolve(connection, incident, told, NOW, "again")
        else:
            incidents.acknowledge(connection, incident, "ada", "I am looking at the disk", NOW)

    with pytest.raises(IncidentError, match=r"that ended at 2026-03-01 05:00 UTC: It succeeded\. Nothing was changed"):
        change(found.id)
    with pytest.raises(IncidentError, match="expected the id of an incident; found 999999"):
        change(999_999)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.sampled_from(["iris", "pear"]), st.sampled_from(["a", "b"])),
        st.tuples(st.just("settle"), st.sampled_from(["iris", "pear"]), st.sampled_from(["a", "b", None])),
        st.tuples(st.just("acknowledge"), st.sampled_from(["iris", "pear"]), st.none()),
        st.tuples(st.just("silence"), st.sampled_from(["iris", "pear"]), st.none()),
        st.tuples(st.just("wait"), st.none(), st.none()),
    ),
    max_size=25,
)


@profile(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(STEPS)
def test_whatever_happens_incidents_are_those_of_what_is_wrong_and_messages_pair_up(
    engine: Engine, told: Settings, steps: list[tuple[str, str | None, str | None]]
) -> None:
    """The model: a set of (model, subject) that are wrong. An incident is open while its model has one."""
    wrong: set[tuple[str, str]] = set()
    now = NOW
    with engine.connect() as connection:
        transaction = connection.begin()
        for step, model, subject in steps:
            now += timedelta(minutes=1)
            of_model = [each for each in incidents.list_incidents(connection) if each.model == model]
            if step == "report":
                assert model
                assert subject
                problem = PROBLEM.model_copy(update={"model": model, "subjects": (subject,)})
                incidents.report(connection, problem, told, now)
                wrong.add((model, subject))
            elif step == "settle":
                incidents.settle(connection, ["score_iris."], subject, told, now, "Well.", model=model)
                wrong -= {(model, each) for each in ("a", "b") if subject in (None, each)}  # type: ignore[arg-type]
            elif step == "acknowledge":
                for each in of_model:
                    if each.acknowledged_at is None:
                        incidents.acknowledge(connection, each.id, "ada", "I am looking at it", now)
            elif step == "silence":
                incidents.silence(connection, model, None, now + timedelta(minutes=3), "ada", "It is known", now)
            else:
                now += timedelta(minutes=5)
                incidents.report_what_was_silenced(connection, told, now)
            still = {
                (each.model, subject) for each in incidents.list_incidents(connection) for subject in each.subjects
            }
            assert still == wrong
        ids = connection.execute(text("SELECT id, resolved_at IS NOT NULL FROM sluice.incident")).all()
        for incident, is_over in ids:
            query = text("SELECT action FROM sluice.alert_message WHERE incident_id = :id ORDER BY number")
            actions = list(connection.execute(query, {"id": incident}).scalars())
            assert actions[:1] in ([], ["trigger"])
            assert actions.count("trigger") <= 1
            assert ("resolve" in actions) == (is_over and bool(actions))
            assert "resolve" not in actions[:-1], "nothing is told after the end"
        transaction.rollback()


def test_every_kind_of_incident_is_listed_with_its_severity() -> None:
    from include.steps.watcher import FAILED_KIND
    from include.watching import KINDS

    pages = [
        (REPOSITORY / "docs" / "how-to" / name).read_text(encoding="utf-8") for name in ("alerts.md", "operate.md")
    ]
    listed = {
        kind.strip("` "): severity
        for page in pages
        for kinds, severity in re.findall(r"^\| (`[a-z_`, ]+`) \| (page|ticket|note) \|", page, re.MULTILINE)
        for kind in kinds.split(",")
    }
    known = {kind: each.severity for kind, each in KINDS.items()} | {FAILED_KIND: "page", "test": "page"}
    for name in ("retrain_iris", "score_iris", "operate_model", "housekeeping"):
        problem = problem_of(alert(dag_id=name))
        known[problem.kind] = problem.severity
    for kind in ("late_rows", "unknown_categories", "parity_not_checked"):
        known[kind] = problem_of(alert(kind=kind)).severity
    assert listed == known
