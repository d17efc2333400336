"""Scheduled runs of a real scheduler that wait to start, by each way that `ScoreStart` has, and go on or fail.

Five models have a champion. Then all of them get a schedule whose interval ends a few minutes later, and a start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from deploy.local_stack.stack import Stack
from tests.dags.conftest import write_model
from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.slow

MINUTE = 60.0
POLL = "poll_interval=timedelta(minutes=1)"
STARTS = {
    "afterwards": "delay=timedelta(minutes=1)",
    "follower": f"asset='sluice://afterwards/scores', deadline=timedelta(hours=1), {POLL}",
    "complete": f"contract_holds=True, deadline=timedelta(hours=1), {POLL}",
    "hopeless": f"contract_holds=True, deadline=timedelta(minutes=2), {POLL}",
    "forgotten": f"asset='no_such_asset', deadline=timedelta(minutes=2), {POLL}",
}
WITHOUT_ROWS = ("complete", "hopeless")
TABLE = """\
CREATE TABLE source.{name} (id bigint PRIMARY KEY, seen_at timestamptz, size double precision, label text);
INSERT INTO source.{name}
SELECT number, date_trunc('hour', now()) - number * interval '1 hour', size,
       CASE WHEN size + (number * 31 % 41) > 70 THEN 'large' ELSE 'small' END
FROM (SELECT number, (number * 37 % 101)::double precision AS size FROM generate_series(1, 24 * 40) AS number) AS made
WHERE number > {first};
"""
NEW_ROWS = "INSERT INTO source.complete VALUES (-1, %s, 50, NULL), (-2, %s, 60, NULL)"


@dataclass
class Waiting:
    """The stack, and the end of the interval that the models' scheduled runs score."""

    stack: Stack
    end: datetime

    def run(self, model: str) -> str:
        """Wait for the scheduled run of the interval, and return its id."""

        def look() -> str | None:
            found = self.stack.api.get(f"/api/v2/dags/score_{model}/dagRuns", limit=100)["dag_runs"]
            of_interval = [each for each in found if each["run_type"] == "scheduled" and self.is_of_interval(each)]
            return str(of_interval[0]["dag_run_id"]) if of_interval else None

        return str(wait_for(look, 8 * MINUTE, f"a scheduled run of {model}"))

    def is_of_interval(self, run: dict[str, Any]) -> bool:
        return datetime.fromisoformat(run["data_interval_end"]) == self.end

    def seen_waiting(self, model: str) -> str:
        """Wait until the run of a model was rescheduled, and return its id."""
        run = self.run(model)
        wait_for(
            lambda: self.task_states(model, run)["wait"] == "up_for_reschedule", MINUTE, f"{model} to wait", every=0.2
        )
        others = {state for task, state in self.task_states(model, run).items() if task != "wait"}
        assert others <= {None}, f"nothing else of {model} has started"
        return run

    def task_states(self, model: str, run: str) -> dict[str, str | None]:
        return {each.task_id: each.state for each in self.stack.api.tasks(f"score_{model}", run)}

    def ended(self, model: str, run: str) -> str:
        def look() -> str | None:
            state = self.stack.api.run_state(f"score_{model}", run)
            return state if state in ("success", "failed") else None

        return str(wait_for(look, 6 * MINUTE, f"{model} to end"))

    def started(self, model: str, run: str, task: str) -> datetime:
        found = self.stack.api.get(f"/api/v2/dags/score_{model}/dagRuns/{run}/taskInstances/{task}")
        return datetime.fromisoformat(found["start_date"])

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def published(self, model: str) -> list[tuple[Any, ...]]:
        query = "SELECT partition_end, row_count FROM sluice.published_partition WHERE model = %s"
        return self.sql(query, model)

    def alerts(self, model: str) -> list[tuple[Any, ...]]:
        return self.sql("SELECT task_id, try_number, error FROM sluice.alert WHERE model = %s", model)


@pytest.fixture(scope="module")
def waiting(private: Stack) -> Waiting:
    models = private.settings.models_dir
    with psycopg.connect(private.database_url, autocommit=True) as connection:
        for name in STARTS:
            first = 26 if name in WITHOUT_ROWS else 0
            connection.execute(sql.SQL(TABLE.replace("{first}", str(first))).format(name=sql.Identifier(name)))
    specs = {}
    for name in STARTS:
        spec = write_model(models, name) / "spec.py"
        text = spec.read_text()
        for old, new in (
            ("import ScoreStart,", "import ScoreStart, Scoring,"),
            ('    retrain_schedule="0 3 * * *",', '    retrain_schedule=None,\n    scoring=Scoring(parity="off"),'),
        ):
            assert old in text
            text = text.replace(old, new)
        specs[spec] = text
        spec.write_text(text.replace('    score_schedule="0 0 * * *",', "    score_schedule=None,"))
    expected = {f"{kind}_{name}" for name in STARTS for kind in ("retrain", "score")}
    wait_for(lambda: expected <= set(private.api.dags()), 2 * MINUTE, "the DAGs")
    runs = {name: private.api.trigger(f"retrain_{name}", {}, "Started by a test.") for name in STARTS}
    for name, run in runs.items():
        wait_for(lambda dag=f"retrain_{name}", run=run: private.api.run_state(dag, run) == "success", 10 * MINUTE, name)
    end = (datetime.now(UTC) + timedelta(minutes=3)).replace(second=0, microsecond=0)
    for spec, text in specs.items():
        schedule = f'    score_schedule="{end.minute} {end.hour} * * *",'
        start = f"    score_start=ScoreStart({STARTS[spec.parent.name]}),"
        spec.write_text(text.replace('    score_schedule="0 0 * * *",', f"{schedule}\n{start}"))
    return Waiting(private, end)


def test_each_waits_and_goes_on_when_it_is_due_announced_or_complete(waiting: Waiting) -> None:
    runs = {name: waiting.seen_waiting(name) for name in STARTS}
    assert waiting.published("complete") == []
    within = waiting.end - timedelta(hours=3)
    waiting.sql(NEW_ROWS, within, within)

    assert waiting.ended("afterwards", runs["afterwards"]) == "success"
    assert waiting.started("afterwards", runs["afterwards"], "validate") >= waiting.end + timedelta(minutes=1)
    assert waiting.ended("follower", runs["follower"]) == "success"
    announced = waiting.sql("SELECT published_at FROM sluice.published_partition WHERE model = 'afterwards'")[0][0]
    assert waiting.started("follower", runs["follower"], "validate") > announced
    assert waiting.ended("complete", runs["complete"]) == "success"
    assert waiting.published("complete") == [(waiting.end, 2)]
    for name in ("afterwards", "follower", "complete"):
        assert [each[0] for each in waiting.published(name)] == [waiting.end]
        assert waiting.alerts(name) == [], "a look in vain is no failure"
        states = waiting.stack.api.tasks(f"score_{name}", runs[name])
        assert {each.task_id: each.try_number for each in states}["wait"] == 1


def test_a_contract_that_never_holds_is_one_alert_after_the_deadline(waiting: Waiting) -> None:
    run = waiting.run("hopeless")
    assert waiting.ended("hopeless", run) == "failed"
    assert waiting.started("hopeless", run, "validate") >= waiting.end + timedelta(minutes=2)
    tasks = waiting.task_states("hopeless", run)
    assert (tasks["wait"], tasks["validate"]) == ("success", "failed")
    ((task, attempt, error),) = waiting.alerts("hopeless")
    assert (task, attempt) == ("validate", 1)
    assert error.startswith("ContractDeadlineError: model 'hopeless', partition ")
    assert "expected at least 1 row(s) to score; found none in the source" in error
    assert f"until its deadline, {waiting.end + timedelta(minutes=2):%Y-%m-%d %H:%M} UTC" in error


def test_an_event_that_never_comes_is_one_alert_that_says_what_was_awaited(waiting: Waiting) -> None:
    run = waiting.run("forgotten")
    assert waiting.ended("forgotten", run) == "failed"
    ((task, attempt, error),) = waiting.alerts("forgotten")
    assert (task, attempt) == ("wait", 1)
    assert "expected an event of the asset 'no_such_asset'" in error
    assert f"until the deadline, {waiting.end + timedelta(minutes=2):%Y-%m-%d %H:%M} UTC; found none since" in error
    assert waiting.published("forgotten") == []


def test_the_run_of_the_day_before_found_no_champion_of_its_time_and_was_skipped(waiting: Waiting) -> None:
    """At its first boot Airflow makes a run of the last interval: its deadline is long over, and nothing alerts."""
    for name in STARTS:
        found = waiting.stack.api.get(f"/api/v2/dags/score_{name}/dagRuns", limit=100)["dag_runs"]
        before = [each for each in found if not waiting.is_of_interval(each)]
        assert [each["run_type"] for each in before] == ["scheduled"], name
        for each in before:
            assert waiting.task_states(name, each["dag_run_id"])["validate"] == "skipped"
