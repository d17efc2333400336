"""What a DAG run is about: as of when it trains, which partition it scores, who asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import NoChampionError
from include.records import ModelVersion, Period
from include.spec import ModelSpec

if TYPE_CHECKING:
    from airflow.timetables.base import DataInterval


def as_of(dag_run: Any) -> datetime:
    """Return the moment whose knowledge a run works with: the same whenever, and however often, it is run."""
    moment: datetime = dag_run.logical_date or dag_run.run_after
    return moment.astimezone(UTC)


def actor(dag_run: Any) -> str:
    """Return who moves the champion: the person who triggered the run, or else the DAG."""
    return str(dag_run.triggering_user_name or f"dag {dag_run.dag_id}")


def partition_of(spec: ModelSpec, dag_run: Any, asked: str | None) -> Period:
    """Return the partition that a scoring run is about.

    A scheduled or backfilled run has its data interval. A run by hand has the interval of the
    schedule that begins on the day `asked` for, or else the last complete one.
    """
    if asked and dag_run.run_type == "manual":
        return _starting_on(spec.score, date.fromisoformat(asked))
    if dag_run.data_interval_start is not None:
        return _period(dag_run.data_interval_start, dag_run.data_interval_end)
    return _last_before(spec.score, dag_run.run_after)


def stop_when_rejected(version: ModelVersion) -> None:
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
def awaiting_first_champion(dag_run: Any) -> Iterator[None]:
    """Skip a run that nobody asked for when the model was never promoted; by hand, that is an error.

    Raises
    ------
    AirflowSkipException
        In place of `NoChampionError`: a model just declared has nothing to score with yet.
    """
    try:
        yield
    except NoChampionError as error:
        if dag_run.run_type == "manual":
            raise
        raise AirflowSkipException(f"nothing to score with yet: {error}") from error


def _starting_on(schedule: str | None, day: date) -> Period:
    whole_day = Period.of_day(day)
    if schedule is None:
        return whole_day
    # Airflow's own arithmetic, so that a run by hand has the very interval that the scheduler would give it.
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.interval import CronDataIntervalTimetable
    from pendulum import instance

    found = CronDataIntervalTimetable(schedule, timezone="UTC").next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=instance(whole_day.start), latest=None, catchup=True),
    )
    return whole_day if found is None or found.data_interval is None else _of(found.data_interval)


def _last_before(schedule: str | None, moment: datetime) -> Period:
    if schedule is None:
        return Period.of_day(moment.astimezone(UTC).date() - timedelta(days=1))
    from airflow.timetables.interval import CronDataIntervalTimetable
    from pendulum import instance

    return _of(
        CronDataIntervalTimetable(schedule, timezone="UTC").infer_manual_data_interval(run_after=instance(moment))
    )


def _of(interval: DataInterval) -> Period:
    return _period(interval.start, interval.end)


def _period(start: datetime, end: datetime) -> Period:
    return Period(start=start.astimezone(UTC), end=end.astimezone(UTC))
