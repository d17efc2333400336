"""An alert can be made of whatever little a callback's context holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluice_airflow.alerts import alert_of, link

URL = "https://airflow.example/"
TASK = SimpleNamespace(dag_id="retrain_iris", run_id="manual__1", task_id="train", try_number=2)
FULL: dict[str, Any] = {
    "dag": SimpleNamespace(dag_id="retrain_iris"),
    "run_id": "manual__1",
    "ti": TASK,
    "params": {},
    "exception": ValueError("no rows"),
}


def test_a_task_s_failure_names_everything() -> None:
    alert = alert_of(FULL, "iris", URL, of_run=False)
    assert alert.model == "iris"
    assert (alert.dag_id, alert.task_id, alert.run_id, alert.try_number) == ("retrain_iris", "train", "manual__1", 2)
    assert alert.error == "ValueError: no rows"
    assert alert.log_url == "https://airflow.example/dags/retrain_iris/runs/manual__1/tasks/train?try_number=2"


def test_a_run_that_took_too_long_names_the_task_it_was_stopped_at() -> None:
    alert = alert_of(FULL | {"exception": None, "reason": "timed_out"}, "iris", URL, of_run=True)
    assert (alert.task_id, alert.try_number) == ("train", 2)
    assert "dagrun_timeout" in alert.error


def test_a_run_with_no_task_to_blame_is_linked_itself() -> None:
    alert = alert_of(
        {"dag": FULL["dag"], "run_id": "manual__1", "reason": "all_tasks_deadlocked"}, "iris", URL, of_run=True
    )
    assert (alert.task_id, alert.try_number) == (None, None)
    assert "all_tasks_deadlocked" in alert.error
    assert alert.log_url == "https://airflow.example/dags/retrain_iris/runs/manual__1"


def test_the_form_s_model_is_named_when_the_dag_has_none_of_its_own() -> None:
    assert alert_of(FULL | {"params": {"model": "pear"}}, None, URL, of_run=False).model == "pear"
    assert alert_of(FULL, None, URL, of_run=False).model is None


@pytest.mark.parametrize("missing", ["dag", "run_id", "params", "exception", "ti"])
def test_any_part_of_the_context_may_be_missing(missing: str) -> None:
    context = {name: value for name, value in FULL.items() if name != missing}
    alert = alert_of(context, "iris", URL, of_run=False)
    assert alert.dag_id == "retrain_iris"
    assert alert.run_id == "manual__1"
    assert alert.error


def test_a_task_that_was_killed_left_no_exception_and_the_alert_says_so() -> None:
    context = {name: value for name, value in FULL.items() if name != "exception"}
    assert "perhaps it was killed" in alert_of(context, "iris", URL, of_run=False).error


def test_a_run_id_with_a_time_in_it_is_quoted_in_the_link() -> None:
    found = link("http://a", "d", "scheduled__2026-03-01T00:00:00+00:00", "t", 1)
    assert found == "http://a/dags/d/runs/scheduled__2026-03-01T00%3A00%3A00%2B00%3A00/tasks/t?try_number=1"
