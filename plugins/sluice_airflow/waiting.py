"""The task ``wait``: a scheduled run starts to score as `ScoreStart` declares; every other run starts at once.

Between its looks the task is rescheduled and takes no worker. The DAG keeps its timetable, so every run has the exact
interval of its partition, which a run that an asset triggers does not have, and a missing event raises an alert.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from airflow.sdk import Asset, PokeReturnValue, get_current_context, task
from airflow.sdk.exceptions import AirflowRescheduleException

from include.errors import AssetNotUpdatedError, ContractDeadlineError, SluiceError, ValidationFailedError
from include.records import Period
from include.spec import ModelSpec
from sluice_airflow import runs

if TYPE_CHECKING:
    from airflow.sdk import Context

TASK_ID: Final = "wait"
AT_DEADLINE: Final = "deadline"
"""What the task returns when the contract did not hold until the deadline; otherwise it returns nothing."""

WAIT_MARGIN: Final = timedelta(hours=1)
EVENTS_BEFORE: Final = timedelta(days=7)
MAX_EVENTS: Final = 500
_LOGGED: Final = 20

log = logging.getLogger(__name__)


class Times(NamedTuple):
    """When a run may start, and until when it waits; `deadline` is None when it only waits for `due`."""

    due: datetime
    deadline: datetime | None


def add_wait(spec: ModelSpec, first: Any) -> None:
    """Add the task before `first`, to the DAG that is being built."""
    start = spec.score_start

    # The look itself decides about the deadline, with a sentence of ours; Airflow's timeout is behind it.
    @task.sensor(
        task_id=TASK_ID,
        mode="reschedule",
        poke_interval=start.poll_interval.total_seconds(),
        timeout=(start.longest + WAIT_MARGIN).total_seconds(),
    )
    def wait() -> PokeReturnValue:
        context = get_current_context()
        return PokeReturnValue(is_done=True, xcom_value=look(spec, context, datetime.now(UTC)))

    wait() >> first


def look(spec: ModelSpec, context: Context, now: datetime) -> str | None:
    """Return when the run may start: `AT_DEADLINE` when the contract did not hold until then, or None.

    Raises
    ------
    AirflowRescheduleException
        When the run has to wait, with the time of the next look.
    AssetNotUpdatedError
        When the asset had no event until the deadline.
    """
    run, start = context["dag_run"], spec.score_start
    if run.run_type != "scheduled" or run.data_interval_end is None:
        return None
    period = runs.partition_of(spec, run, None)
    due, deadline = times_of(spec, period)
    if now < due:
        log.info("The partition %s is scored from %s on.", period, due)
        _look_again(due)
    if deadline is None:
        return None
    following = None if now >= deadline else min(now + start.poll_interval, deadline)
    if start.asset is not None and not _is_announced(spec, start.asset, period, deadline, following):
        return None
    return _look_at_rows(spec, period, following) if start.contract_holds else None


def _is_announced(spec: ModelSpec, asset: str, period: Period, deadline: datetime, following: datetime | None) -> bool:
    """Return whether the asset announced the partition; without a `following` look, False for a model of no champion.

    The step `validate` then skips the run of a new model, for which a missing event is no failure.
    """
    events = list(events_of(asset, period))
    if any(announces(spec, event, period) for event in events):
        return True
    found = describe_events(events, period)
    log.info("No event of the asset %s says that %s is complete; found %s.", asset, period, found)
    if following is not None:
        _look_again(following)
    if _has_champion(spec, period):
        raise AssetNotUpdatedError(spec.name, str(period), asset, deadline, found)
    return False


def _look_at_rows(spec: ModelSpec, period: Period, following: datetime | None) -> str | None:
    broken = broken_rules(spec, period)
    if not broken:
        return None
    log.info("The contract does not hold yet for %s:\n%s", period, "\n".join(f"- {rule}" for rule in broken[:_LOGGED]))
    if following is not None:
        _look_again(following)
    return AT_DEADLINE


def _look_again(at: datetime) -> NoReturn:
    raise AirflowRescheduleException(at)  # type: ignore[no-untyped-call]  # Airflow's constructor has no types


def times_of(spec: ModelSpec, period: Period) -> Times:
    """Return when a scheduled run of a partition may start, and its deadline, by the clock of the model's time zone."""
    from include.schedule import later_by_clock

    start = spec.score_start
    due = later_by_clock(period.end, start.delay, timezone=spec.score_timezone)
    if start.deadline is None:
        return Times(due, None)
    # Where the clock leaves out an hour, the later of two durations may come earlier.
    return Times(due, max(due, later_by_clock(period.end, start.deadline, timezone=spec.score_timezone)))


def events_of(asset: str, period: Period) -> Iterable[Any]:
    """Return the newest events of an asset since a week before a partition, or none of an asset that is unknown.

    The asset is no inlet of the task: Airflow fails a task whose inlet no DAG has declared yet, instead of waiting.
    """
    from airflow.sdk.execution_time.context import InletEventsAccessor

    events = (
        InletEventsAccessor(asset_uri=Asset(uri=asset).uri) if "://" in asset else InletEventsAccessor(asset_name=asset)
    )
    return events.after((period.start - EVENTS_BEFORE).isoformat()).ascending(ascending=False).limit(MAX_EVENTS)


def name_of(event: Any) -> str | None:
    """Return the name of the partition that an event is of: ``partition`` in its extra, or its partition key."""
    named = (event.extra or {}).get("partition")
    return named if isinstance(named, str) and named else event.partition_key


def announces(spec: ModelSpec, event: Any, period: Period) -> bool:
    """Return whether an event of the source's asset says that a partition is there.

    An event that names a partition is only about that one. One that names less than the whole partition, or nothing,
    counts when it came after the partition's end: until then more rows may come.
    """
    from include.schedule import match_name

    named, after = name_of(event), event.timestamp >= period.end
    if named is None:
        return bool(after)
    match = match_name(named, period, spec.score_schedule, timezone=spec.score_timezone)
    return match == "whole" or (match == "start" and bool(after))


def describe_events(events: list[Any], period: Period) -> str:
    """Return, for a message, which events there were instead of the expected one."""
    if not events:
        return f"none since {period.start - EVENTS_BEFORE:%Y-%m-%d %H:%M} UTC"
    newest = events[0]
    named = name_of(newest)
    of = f"of the partition '{named}'" if named else "of no named partition"
    at = f"the newest at {newest.timestamp:%Y-%m-%d %H:%M} UTC, {of}"
    return f"{len(events)} of other partitions, or from before the end of this one: {at}"


def broken_rules(spec: ModelSpec, period: Period) -> tuple[str, ...]:
    """Look at the rows of a partition; return the rules that they break.

    An error that a retry may mend is one more reason to wait. Any other is left to the step `validate`, which fails
    with it, or skips a model without a champion: waiting would not help.
    """
    from include import pipeline

    try:
        with pipeline.open_resources() as resources:
            return pipeline.find_broken_rules(spec, period, resources, mode="champion_then")
    except SluiceError as error:
        log.warning("The partition %s could not be looked at: %s", period, error)
        return (f"it could not be looked at: {error}",) if error.retryable else ()


def _has_champion(spec: ModelSpec, period: Period) -> bool:
    from include import pipeline

    with pipeline.open_resources() as resources:
        return pipeline.has_champion(spec, period, resources)


@contextmanager
def validation_of_run(spec: ModelSpec, context: Context) -> Iterator[None]:
    """Skip a scheduled run of a model without a champion; say in an error that the run waited for the contract.

    Raises
    ------
    AirflowSkipException
        See `runs.skip_without_champion`.
    ContractDeadlineError
        In place of `ValidationFailedError`, in a run that waited until its deadline.
    """
    with runs.skip_without_champion(context["dag_run"]):
        try:
            yield
        except ValidationFailedError as error:
            if not spec.score_start.contract_holds or context["ti"].xcom_pull(task_ids=TASK_ID) != AT_DEADLINE:
                raise
            _, deadline = times_of(spec, runs.partition_of(spec, context["dag_run"], None))
            assert deadline is not None  # noqa: S101  # a start that waits for the contract has one
            raise ContractDeadlineError(error, deadline, spec.score_start.poll_interval) from error
