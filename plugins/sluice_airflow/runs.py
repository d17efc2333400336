"""What a DAG run is about: as of when it trains, which partition it scores, who asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import NoChampionError
from include.records import ModelVersion, ParityCheck, Period
from include.spec import ModelSpec


def as_of(dag_run: Any) -> datetime:
    """Return the moment whose knowledge a run works with: the same whenever, and however often, it is run."""
    moment: datetime = dag_run.logical_date or dag_run.run_after
    return moment.astimezone(UTC)


def actor(dag_run: Any) -> str:
    """Return who moves the champion: the person who triggered the run, or else the DAG."""
    return str(dag_run.triggering_user_name or f"dag {dag_run.dag_id}")


def partition_of(spec: ModelSpec, dag_run: Any, asked: str | None) -> Period:
    """Return the partition that a scoring run is about.

    A scheduled or backfilled run has its data interval. A run by hand has the partition that `asked`
    names, a day or a moment, or else the last complete one.
    """
    from include.schedule import last_partition, parse_partition

    if asked and dag_run.run_type == "manual":
        return parse_partition(spec.score_schedule, asked)
    if dag_run.data_interval_start is not None:
        return Period(start=dag_run.data_interval_start.astimezone(UTC), end=dag_run.data_interval_end.astimezone(UTC))
    return last_partition(spec.score_schedule, dag_run.run_after)


def scoring_options(dag_run: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return which version is to score, and in how many shards, as `plan_partition` takes them.

    What nobody named a version for is scored by the champion of when the partition ended, so that a run
    gives the same whenever it is made up for; a person who triggers a run means the champion of now.
    """
    mode = "champion" if dag_run.run_type == "manual" else "champion_then"
    return {"version": params["model_version"], "mode": mode, "shards": params["shards"]}


def skip_if_not_checked(check: ParityCheck) -> None:
    """Skip what follows a check of parity that could not be made.

    Raises
    ------
    AirflowSkipException
        With the reason: the partition is published all the same, and an alert was raised.
    """
    if check.verdict == "not_checked":
        raise AirflowSkipException(f"parity was not checked: {check.reason}")


def max_active_runs(spec: ModelSpec) -> int:
    """Return how many runs of a model's retraining may be under way: one, unless they wait for people.

    While one waits for its approval the next may train; its candidate makes the older request void.
    """
    return 1 if spec.approval is None else 4


def skip_if_rejected(version: ModelVersion) -> None:
    """Skip the promotion of a version that a gate refused.

    Raises
    ------
    AirflowSkipException
        With the gates' sentences: the run succeeds, and says why nothing was promoted.
    """
    if not version.decision.accepted:
        reasons = "\n".join(f"- {reason}" for reason in version.decision.reasons)
        raise AirflowSkipException(f"version {version.version} of {version.model} is not promoted:\n{reasons}")


@contextmanager
def skip_without_champion(dag_run: Any) -> Iterator[None]:
    """Skip a run that nobody asked for when the model was never promoted; by hand, that is an error.

    Raises
    ------
    AirflowSkipException
        In place of `NoChampionError`: a model just declared has nothing to score with yet.
    """
    try:
        yield
    except NoChampionError as error:
        if dag_run.run_type in ("manual", "backfill"):
            raise
        raise AirflowSkipException(f"nothing to score with yet: {error}") from error
