"""The inputs of a DAG run: the time it trains for, the partition it scores, the person who requested it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import HoldError, MissingVersionError, NoChampionError, NothingNewError, NotPromotedError
from include.records import ModelVersion, ParityCheck, Period
from include.spec import ModelSpec

MAX_SCORES = 4


def as_of(dag_run: Any) -> datetime:
    """Return the time that a run works for. It is the same whenever and however often the run is repeated."""
    moment: datetime = dag_run.logical_date or dag_run.run_after
    return moment.astimezone(UTC)


def actor(dag_run: Any) -> str:
    """Return the actor of a promotion: the person who triggered the run, or the DAG."""
    return str(dag_run.triggering_user_name or f"dag {dag_run.dag_id}")


def partition_of(spec: ModelSpec, dag_run: Any, text: str | None) -> Period:
    """Return the partition that a run scores.

    For a scheduled or backfilled run this is its data interval. For a manual run it is the partition that `text` names
    by a day or a time; without it, the interval that the person gave, or the last complete partition.

    Raises
    ------
    SluiceError
        When the interval is empty. Whether it is one partition is checked by the step `validate`.
    """
    from include.schedule import last_partition, parse_partition, period_of_interval

    if text and dag_run.run_type == "manual":
        return parse_partition(spec.score_schedule, text, timezone=spec.score_timezone)
    if dag_run.data_interval_start is not None:
        return period_of_interval(dag_run.data_interval_start, dag_run.data_interval_end)
    return last_partition(spec.score_schedule, dag_run.run_after, timezone=spec.score_timezone)


def values_of(spec: ModelSpec, context: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return what a step takes from the run itself, by name, see `include.flows`.

    Without a named version, a partition is scored by the champion at its end, so that a run gives the same result
    whenever it runs. In a run that a person triggers, the present champion scores.
    """
    run, params = context["dag_run"], context["params"]
    values: dict[str, Callable[[], Any]] = {
        "run_id": lambda: run.run_id,
        "as_of": lambda: as_of(run),
        "actor": lambda: actor(run),
        "requested_by": lambda: run.triggering_user_name,
        "again": lambda: params["again"],
        "allow_older": lambda: params["allow_older"],
        "period": lambda: partition_of(spec, run, params["partition"]),
        "version": lambda: params["model_version"],
        "mode": lambda: "champion" if run.run_type == "manual" else "champion_then",
        "shards": lambda: params["shards"],
        "try_number": lambda: context["ti"].try_number,
    }
    return {name: values[name]() for name in names}


def skip_if_not_checked(check: ParityCheck) -> None:
    """Skip the task when parity could not be checked, or there was nothing to check.

    Raises
    ------
    AirflowSkipException
        With the reason. The partition is published nevertheless; when the service did not respond, an alert was raised.
    """
    if check.verdict == "equal" and not check.rows:
        raise AirflowSkipException("the partition is empty: the source has no rows for it, and there are no scores")
    if check.verdict == "not_checked":
        raise AirflowSkipException(f"parity was not checked: {check.reason}")


def max_active_runs(spec: ModelSpec) -> int:
    """Return the maximum number of simultaneous retrains of a model: one, or more when they wait for approvals.

    While one run waits for its approval, the next may train; its candidate makes the older request void.
    """
    return 1 if spec.approval is None else 4


def max_active_scores(spec: ModelSpec) -> int:
    """Return the maximum number of simultaneous scores of a model: four, and those that may wait to start.

    While the maximum is active, Airflow makes no run; with ``catchup=False`` it never makes up for them.
    """
    return MAX_SCORES + (spec.score_start.waiting_runs(spec.score_schedule) if spec.score_schedule else 0)


def skip_if_rejected(version: ModelVersion) -> None:
    """Skip the promotion of a version that a gate rejected.

    Raises
    ------
    AirflowSkipException
        With the gates' sentences: the run succeeds, and its log has the reasons.
    """
    if not version.decision.accepted:
        reasons = "\n".join(f"- {reason}" for reason in version.decision.reasons)
        raise AirflowSkipException(f"version {version.version} of {version.model} is not promoted:\n{reasons}")


def skip_unless(wanted: bool, action: str) -> None:
    """Skip a task of ``operate_model`` that is not what the form asks for.

    Raises
    ------
    AirflowSkipException
    """
    if not wanted:
        raise AirflowSkipException(f"the form asks to {action}")


def version_of_form(params: Any) -> int:
    """Return the version that the form of ``operate_model`` names.

    Raises
    ------
    MissingVersionError
        When it names none.
    """
    if params["version"] is None:
        raise MissingVersionError(params["model"])
    return int(params["version"])


def end_of_hold(params: Any) -> datetime | None:
    """Return the end of the hold that the form of ``operate_model`` names; None: when somebody lifts it.

    Raises
    ------
    HoldError
        When the text is no time.
    """
    from include.schedule import parse_moment

    text = (params["until"] or "").strip()
    try:
        return parse_moment(text) if text else None
    except ValueError as error:
        advice = "Correct the field, or leave it empty: then the hold is in force until somebody lifts it."
        raise HoldError(params["model"], "an end such as 2026-01-31T12:00", f"'{text}'", advice) from error


@contextmanager
def skip_refusals() -> Iterator[None]:
    """Skip a task of a retrain that ends with a refusal, which is no failure: nothing is new, or not to be promoted.

    Raises
    ------
    AirflowSkipException
        With the sentence of the error: the run succeeds, and its log has the reason.
    """
    try:
        yield
    except (NothingNewError, NotPromotedError) as refused:
        raise AirflowSkipException(str(refused)) from refused


@contextmanager
def skip_without_champion(dag_run: Any) -> Iterator[None]:
    """Skip a scheduled run when the model has no champion yet; in a manual run or a backfill this is an error.

    Raises
    ------
    AirflowSkipException
        In place of `NoChampionError`: a new model has no version to score with yet.
    """
    try:
        yield
    except NoChampionError as error:
        if dag_run.run_type in ("manual", "backfill"):
            raise
        raise AirflowSkipException(f"nothing to score with yet: {error}") from error
