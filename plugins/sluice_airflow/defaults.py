"""What every DAG and every task of Sluice has: retries with backoff, limits of time, alerts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include import errors
from include.settings import DATABASE_POOL
from include.spec import ModelSpec
from sluice_airflow.notifier import SluiceNotifier

START = datetime(2013, 1, 1, tzinfo=UTC)
"""The earliest day that can be backfilled; nothing runs for the past unless it is asked for."""

TAG = "sluice"

PERMANENT = [
    errors.ApprovalRequiredError,
    errors.ApprovalTimedOutError,
    errors.ApprovalVoidError,
    errors.ArtifactError,
    errors.CandidateRejectedError,
    errors.ConversionError,
    errors.FencedError,
    errors.PromotionConflictError,
    errors.NoChampionError,
    errors.ApproverNotAllowedError,
    errors.NotEnoughDataError,
    errors.ParityMismatchError,
    errors.PartitionOverlapError,
    errors.PrecisionError,
    errors.ReconciliationError,
    errors.RowsRejectedError,
    errors.ScoreBoundsError,
    errors.SettingsError,
    errors.ShadowBoundsError,
    errors.SpecError,
    errors.TrainingBudgetError,
    errors.UnknownModelError,
    errors.UnknownVersionError,
    errors.ValidationFailedError,
]
"""Errors that the same inputs bring again: a person has to act first."""

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=list(PERMANENT), action=RetryAction.FAIL, reason="trying again would bring the same error")
    ]
)


def task_defaults(owner: str, notifier: SluiceNotifier, limit: timedelta) -> dict[str, Any]:
    """Return `default_args`: every task may take `limit`, is retried twice, and alerts when it is given up."""
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
    """Return the arguments that every DAG is made with: a task may take `limit`, a run three times that."""
    names = tuple(channels)
    return {
        "default_args": task_defaults(owner, SluiceNotifier(model, names), limit),
        "start_date": START,
        "catchup": False,
        "is_paused_upon_creation": False,
        "dagrun_timeout": 3 * limit,
        "on_failure_callback": SluiceNotifier(model, names, of_run=True),
    }


def model_dag_defaults(spec: ModelSpec, kind: str, limit: timedelta) -> dict[str, Any]:
    """Return `dag_defaults` of a model's DAG, with its tags: Sluice's, the `kind` of DAG, the model's own."""
    tags = sorted({TAG, kind, spec.name, *spec.tags})
    defaults = dag_defaults(spec.owner, limit=limit, model=spec.name, channels=spec.alert_channels)
    # What a person does, such as a rollback, must not wait behind scores: `operate_model` is in no such pool.
    defaults["default_args"] |= {"pool": DATABASE_POOL}
    if kind == "retrain" and spec.approval is not None:
        defaults["dagrun_timeout"] += spec.approval.timeout
    return {"dag_id": f"{kind}_{spec.name}", "tags": tags, **defaults}
