"""Makes an `Alert` of the context that Airflow gives to a failure callback. Needs no Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from include.records import Alert

TIMED_OUT = "timed_out"
"""Airflow's reason for a run that took longer than its `dagrun_timeout`."""


def alert_of(
    context: dict[str, Any], model: str | None, airflow_url: str, *, of_run: bool, subject: str | None = None
) -> Alert:
    """Return the alert for Airflow's callback `context`, of which `subject` is the partition.

    Any key may be missing: the callback of a run, and of a task whose process died, get few of them. The task instance
    in a run's callback is the one that made the run fail, or that ran when the run was stopped.
    """
    task_instance = context.get("ti")
    dag_id = context["dag"].dag_id if "dag" in context else getattr(task_instance, "dag_id", "unknown")
    run_id = str(context.get("run_id") or getattr(task_instance, "run_id", "unknown"))
    task_id = getattr(task_instance, "task_id", None)
    attempt = getattr(task_instance, "try_number", None)
    return Alert(
        model=model or model_of_run(context),
        dag_id=dag_id,
        task_id=task_id,
        run_id=run_id,
        try_number=attempt,
        error=_error_of(context, of_run=of_run),
        log_url=link(airflow_url, dag_id, run_id, task_id, attempt),
        at=datetime.now(UTC),
        subject=subject,
    )


def link(airflow_url: str, dag_id: str, run_id: str, task_id: str | None, attempt: int | None) -> str:
    """Return the address of a task's log, or of a run, in the Airflow UI."""
    run = f"{airflow_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    if task_id is None:
        return run
    return f"{run}/tasks/{quote(task_id)}" + (f"?try_number={attempt}" if attempt else "")


def _error_of(context: dict[str, Any], *, of_run: bool) -> str:
    error, reason = context.get("exception"), context.get("reason")
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    if error:
        return str(error)
    if of_run and reason == TIMED_OUT:
        return "the run took longer than its dagrun_timeout and was stopped"
    why = f" (Airflow's reason: {reason})" if reason else ""
    return f"the task's process ended without raising an error{why}: perhaps it was killed, or ran out of memory"


def model_of_run(context: dict[str, Any]) -> str | None:
    """Return the run's parameter ``model``, if it has one."""
    model = (context.get("params") or {}).get("model")
    return str(model) if model else None
