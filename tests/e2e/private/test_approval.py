"""Approval in a real Airflow, over HTTP, with two people: what holds, what is void, and what no answer means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deploy.local_stack.stack import Stack
from tests.dags.conftest import TINY_TABLE
from tests.e2e.conftest import declare_approved, logged_in, wait_for
from tests.e2e.private.conftest import PASSWORDS

pytestmark = pytest.mark.slow

MINUTES = 60.0


@dataclass
class Airflow:
    """A private Airflow, as `make run` has it, and two people who are logged in."""

    database_url: str
    people: dict[str, httpx.Client]
    scheduler_log: Path

    def call(self, who: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self.people[who].request(method, f"/api/v2{path}", **({"json": body} if body else {}))
        assert answer.is_success, f"{who}: {method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def retrain(self, who: str, model: str, hour: int) -> str:
        """Trigger a run as of an hour of 1 March 2026, of the same rows as the others, and return its id."""
        body = {"logical_date": f"2026-03-01T{hour:02}:00:00Z", "conf": {"again": True}}
        return self.call(who, "POST", f"/dags/retrain_{model}/dagRuns", **body)["dag_run_id"]

    def task(self, model: str, run: str, task: str) -> str | None:
        return self.call("ann", "GET", f"/dags/retrain_{model}/dagRuns/{run}/taskInstances/{task}")["state"]

    def wait(self, model: str, run: str, task: str, *states: str) -> str:
        def look() -> str | None:
            state = self.task(model, run, task)
            assert state in states or state not in ("failed", "upstream_failed", "skipped"), f"{task} is {state}"
            return state if state in states else None

        return wait_for(look, 10 * MINUTES, f"{task} of {run} to be {' or '.join(states)}")

    def asked(self, model: str, run: str) -> dict[str, Any]:
        """Wait until a person is asked, and return what is shown."""
        self.wait(model, run, "approve", "awaiting_input", "deferred")
        # No person is as quick as this: an answer that comes before the scheduler has heard that the task is parked
        # makes Airflow 3.3.2 take the resumed task for one that was killed, and ask once more.
        parked = f"TaskInstance Finished: dag_id=retrain_{model}, task_id=approve, run_id={run}"
        wait_for(
            lambda: parked in self.scheduler_log.read_text(errors="replace"), MINUTES, "the scheduler to hear of it"
        )
        (detail,) = self.call("ann", "GET", f"/dags/retrain_{model}/dagRuns/{run}/hitlDetails")["hitl_details"]
        return detail

    def answer(self, who: str, model: str, run: str, option: str) -> None:
        path = f"/dags/retrain_{model}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        self.call(who, "PATCH", path, chosen_options=[option], params_input={"comment": f"{who} looked at it"})

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, values).fetchall()

    def champion(self, model: str) -> list[tuple[Any, ...]]:
        return self.sql("SELECT version FROM sluice.champion WHERE model = %s", model)

    def alerted(self, run: str) -> str:
        """Wait for the alert of a run's approval, and return its sentence."""

        def look() -> str | None:
            found = self.sql("SELECT error FROM sluice.alert WHERE run_id = %s AND task_id = 'approve'", run)
            return found[0][0] if found else None

        return wait_for(look, MINUTES, "the alert")


@pytest.fixture(scope="module")
def airflow(private: Stack) -> Iterator[Airflow]:
    """Two people, and two declared models: `apple` waits a day for an answer, `pear` for five seconds."""
    declare_approved(private.settings.models_dir, "apple", "timedelta(days=1)")
    declare_approved(private.settings.models_dir, "pear", "timedelta(seconds=5)")
    with psycopg.connect(private.database_url, autocommit=True) as connection:
        for name in ("apple", "pear"):
            connection.execute(TINY_TABLE.format(name=name))
    clients = {name: logged_in(private.airflow_address, name, password) for name, password in PASSWORDS.items()}
    airflow = Airflow(private.database_url, clients, private.settings.log_dir / "scheduler.log")
    wait_for(lambda: knows(airflow, "retrain_pear"), 2 * MINUTES, "the DAGs")
    yield airflow
    for client in clients.values():
        client.close()


def knows(airflow: Airflow, dag_id: str) -> bool:
    return airflow.people["ann"].get(f"/api/v2/dags/{dag_id}").is_success


def test_own_approval_is_refused_a_retraining_makes_one_void_and_another_person_s_promotes(airflow: Airflow) -> None:
    first = airflow.retrain("ann", "apple", 5)
    shown = airflow.asked("apple", first)
    (digest,) = airflow.sql("SELECT evidence_digest FROM sluice.model_version WHERE model = 'apple' AND version = 1")[0]
    assert digest in shown["body"]
    assert "| roc_auc |" in shown["body"]
    assert "No earlier candidate was evaluated on this holdout." in shown["body"]
    assert "golden rows equal bit for bit" in shown["body"]

    airflow.answer("ann", "apple", first, "Approve")
    airflow.wait("apple", first, "approve", "failed")
    assert "'ann' may not approve version 1 of 'apple': the person who triggered the run" in airflow.alerted(first)
    airflow.wait("apple", first, "promote", "upstream_failed")
    assert airflow.champion("apple") == []

    second = airflow.retrain("ann", "apple", 6)
    airflow.asked("apple", second)
    third = airflow.retrain("ann", "apple", 7)
    airflow.asked("apple", third)
    airflow.answer("bob", "apple", second, "Approve")
    airflow.wait("apple", second, "approve", "failed")
    assert "is void: version 3 was registered" in airflow.alerted(second)
    assert airflow.champion("apple") == []

    airflow.answer("bob", "apple", third, "Approve")
    airflow.wait("apple", third, "promote", "success")
    assert airflow.champion("apple") == [(3,)]
    said = airflow.sql("SELECT version, decision, approver, requested_by, comment FROM sluice.approval")
    assert said == [(3, "approved", "bob", "ann", "bob looked at it")]


def test_no_answer_in_time_is_a_no(airflow: Airflow) -> None:
    run = airflow.retrain("ann", "pear", 5)
    airflow.wait("pear", run, "approve", "failed")
    assert "nobody approved version 1 of 'pear' within 0:00:05, so it is not promoted" in airflow.alerted(run)
    airflow.wait("pear", run, "promote", "upstream_failed")
    assert airflow.champion("pear") == []
    said = airflow.sql("SELECT decision, approver FROM sluice.approval WHERE model = 'pear'")
    assert said == [("timed out", "nobody")]


def test_a_no_skips_the_promotion_and_fails_nothing(airflow: Airflow) -> None:
    before = airflow.champion("apple")
    run = airflow.retrain("ann", "apple", 8)
    airflow.asked("apple", run)
    airflow.answer("bob", "apple", run, "Reject")
    airflow.wait("apple", run, "promote", "skipped")
    assert airflow.champion("apple") == before
    said = airflow.sql("SELECT decision, approver FROM sluice.approval WHERE model = 'apple' ORDER BY id DESC LIMIT 1")
    assert said == [("rejected", "bob")]
