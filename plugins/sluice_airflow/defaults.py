"""Defaults of every DAG and task of Sluice: retries with backoff, time limits, alerts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include.errors import permanent_errors
from include.settings import DATABASE_POOL
from include.spec import ModelSpec
from sluice_airflow.notifier import SluiceNotifier, SuccessNotifier

TAG = "sluice"

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=list(permanent_errors()),
            action=RetryAction.FAIL,
            reason="this error is not retryable: the same inputs cause it again",
            match_subclasses=False,
        )
    ]
)
"""Errors say themselves whether a retry can help: see `SluiceError.retryable`."""


def task_defaults(owner: str, notifier: SluiceNotifier, limit: timedelta) -> dict[str, Any]:
    """Return `default_args`: every task has the time limit `limit`, is retried twice, and alerts after the last try."""
    return {
        "owner": owner,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": limit,
        "on_failure_callback": notifier,
    }


def dag_defaults(
    owner: str, *, limit: timedelta, model: str | None = None, channels: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the arguments of every DAG: the time limit of a task is `limit`, that of a run three times as long."""
    names = tuple(channels)
    return {
        "default_args": task_defaults(owner, SluiceNotifier(model, names), limit),
        # No `start_date`: with one, Airflow leaves every task out of a run by hand that is dated before it, and calls
        # the run a success. Past intervals run only in a backfill, since nothing is caught up.
        "catchup": False,
        "is_paused_upon_creation": False,
        "dagrun_timeout": 3 * limit,
        "on_failure_callback": SluiceNotifier(model, names, of_run=True),
        "on_success_callback": SuccessNotifier(model),
    }


def model_dag_defaults(spec: ModelSpec, kind: str, limit: timedelta) -> dict[str, Any]:
    """Return `dag_defaults` of a model's DAG, with its tags: Sluice's, the `kind` of DAG, the model's own."""
    tags = sorted({TAG, kind, spec.name, *spec.tags})
    defaults = dag_defaults(spec.owner, limit=limit, model=spec.name, channels=spec.alert_channels)
    # An operation by a person, such as a rollback, must not wait for scores: `operate_model` uses no pool.
    defaults["default_args"] |= {"pool": DATABASE_POOL}
    if kind == "score":
        defaults["dagrun_timeout"] += spec.score_start.longest
    if kind == "retrain" and spec.approval is not None:
        defaults["dagrun_timeout"] += spec.approval.timeout
    return {"dag_id": f"{kind}_{spec.name}", "tags": tags, **defaults}
