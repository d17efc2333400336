"""Approval in a real Airflow, over HTTP, by two people: one retraining, of which the same version is asked about again.

Another version that makes a request void, and no answer in time: private/test_approval.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local_stack.airflow_home import ADMIN, REVIEWER
from tests.e2e.conftest import Declared, RunningStack, wait_for

pytestmark = pytest.mark.slow

DAG_ID = "retrain_apple"


@dataclass
class Request:
    """The task `approve` of one run, and what comes of it."""

    stack: RunningStack
    run: str

    def wait(self, task: str, *states: str) -> None:
        def look() -> bool:
            state = self.stack.task(DAG_ID, self.run, task)["state"]
            assert state in states or state not in ("failed", "upstream_failed", "skipped"), f"{task} is {state}"
            return state in states

        wait_for(look, 600, f"{task} of {self.run} to be {' or '.join(states)}")

    def asked(self) -> str:
        """Wait until a person is asked, and return what is shown."""
        self.wait("approve", "awaiting_input", "deferred")
        # No person is as quick as this: an answer that comes before the scheduler has heard that the task is parked
        # makes Airflow 3.3.2 take the resumed task for one that was killed, and ask once more. The id tells this
        # attempt from the one before, of which the scheduler may hear just now.
        attempt = self.stack.task(DAG_ID, self.run, "approve")["id"]
        parked = re.compile(rf"TaskInstance Finished: dag_id={DAG_ID}, task_id=approve, .*ti_id={attempt}\b")
        log = self.stack.home / "logs" / "scheduler.log"
        wait_for(lambda: parked.search(log.read_text(errors="replace")), 60, "the scheduler to hear of it")
        (detail,) = self.stack.call("GET", f"/dags/{DAG_ID}/dagRuns/{self.run}/hitlDetails")["hitl_details"]
        return detail["body"]

    def answer(self, who: str, option: str, state: str) -> None:
        """Answer as that person, and wait for what becomes of the task."""
        path = f"/dags/{DAG_ID}/dagRuns/{self.run}/taskInstances/approve/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": {"comment": f"{who} looked at it"}}
        self.stack.call("PATCH", path, self.stack.people[who], json=body)
        self.wait("approve", state)

    def ask_again(self) -> None:
        """Clear the task and what follows it, as a person does who wants the question put once more."""
        # What is cleared while the run is being ended is overlooked: the run ends, and nothing runs it again.
        self.stack.finished(DAG_ID, self.run)
        body = {
            "dry_run": False, "dag_run_id": self.run, "task_ids": ["approve"], "include_downstream": True,
            "only_failed": False, "reset_dag_runs": True,
        }  # fmt: skip
        self.stack.call("POST", f"/dags/{DAG_ID}/clearTaskInstances", json=body)

    def alerts(self, count: int) -> list[str]:
        """Wait for so many alerts of the task, and return their sentences."""

        def look() -> list[Any]:
            query = "SELECT error FROM sluice.alert WHERE run_id = %s AND task_id = 'approve' ORDER BY id"
            rows = self.stack.sql(query, self.run)
            return rows if len(rows) == count else []

        return [error for (error,) in wait_for(look, 60, f"{count} alerts")]


def test_own_approval_is_refused_a_no_promotes_nothing_another_person_s_yes_does_and_then_the_request_is_void(
    stack: RunningStack, declared: Declared
) -> None:
    request = Request(stack, declared.apple_run)
    champion = "SELECT version FROM sluice.champion WHERE model = 'apple'"
    shown = request.asked()
    (digest,) = stack.sql("SELECT evidence_digest FROM sluice.model_version WHERE model = 'apple' AND version = 1")[0]
    assert digest in shown
    assert "| roc_auc |" in shown
    assert "No earlier candidate was evaluated on this holdout." in shown
    assert "golden rows equal bit for bit" in shown

    request.answer(ADMIN, "Approve", "failed")
    assert f"'{ADMIN}' may not approve version 1 of 'apple': the person who triggered the run" in request.alerts(1)[0]
    request.wait("promote", "upstream_failed")
    assert stack.sql(champion) == []

    request.ask_again()
    request.asked()
    request.answer(REVIEWER, "Reject", "skipped")
    request.wait("promote", "skipped")
    assert stack.sql(champion) == []

    request.ask_again()
    request.asked()
    request.answer(REVIEWER, "Approve", "success")
    request.wait("promote", "success")
    assert stack.sql(champion) == [(1,)]
    said = stack.sql("SELECT version, decision, approver, requested_by, comment FROM sluice.approval"
                     " WHERE model = 'apple' ORDER BY id")  # fmt: skip
    comment = f"{REVIEWER} looked at it"
    assert said == [(1, "rejected", REVIEWER, ADMIN, comment), (1, "approved", REVIEWER, ADMIN, comment)]

    request.ask_again()
    request.asked()
    request.answer(REVIEWER, "Approve", "failed")
    assert "is void: the champion changed (sequence 0 then, 1 now)" in request.alerts(2)[1]
