"""Run in a process of its own: prints, as JSON, what scheduled runs of a model decide that wait to start.

The model `parcels` is declared and has a champion. Each look is at a moment that is given; the rows are those of a real
database. A look says ``start``, ``deadline`` or when it looks again.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException
from airflow.timetables.base import DataInterval
from pendulum import instance
from sqlalchemy import text

from include import pipeline
from include.errors import SluiceError
from include.models import declared_models
from include.records import Period
from include.settings import load_settings
from include.spec import ModelSpec, ScoreStart
from sluice_airflow import runs, waiting

START = datetime(2026, 2, 20, tzinfo=UTC)
END = START + timedelta(days=1)
DECLARED = declared_models(load_settings().models_dir)["parcels"]
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def waits(**start: Any) -> ModelSpec:
    return DECLARED.model_copy(update={"score_start": ScoreStart(**start)})


def context(run_type: str, result_of_wait: str | None = None, begin: datetime = START) -> Any:
    interval = DataInterval(instance(begin), instance(begin + timedelta(days=1)))
    run = DagRun("score_parcels", "r", logical_date=interval.start, run_type=run_type, data_interval=interval)
    return {"dag_run": run, "ti": SimpleNamespace(xcom_pull=lambda **_: result_of_wait)}


def look(spec: ModelSpec, after: timedelta, run_type: str = "scheduled") -> str:
    try:
        return waiting.look(spec, context(run_type), END + after) or "start"
    except AirflowRescheduleException as error:
        return f"again {timedelta(seconds=(error.reschedule_date - END).total_seconds())}"


def hour_of_start(day: datetime) -> str:
    """Return when the day before `day` is scored, six hours after midnight in Berlin, by its clock."""
    spec = delayed.model_copy(update={"score_timezone": "Europe/Berlin"})
    midnight = day.replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    end = context("scheduled", begin=midnight - timedelta(days=1))["dag_run"].data_interval_end
    due = waiting.times_of(spec, Period(start=end - timedelta(days=1), end=end)).due
    return f"{due.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d %H:%M}"


def with_rows(change: str, work: Callable[[], Any]) -> Any:
    """Return what `work` returns while the rows of the partition are changed."""
    with pipeline.open_resources() as resources, resources.engine.begin() as connection:
        connection.execute(text("CREATE TABLE source.saved AS SELECT * FROM source.parcels"))
        connection.execute(text(change), {"start": START, "end": END})
    found = work()
    with pipeline.open_resources() as resources, resources.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS source.parcels"))
        connection.execute(text("ALTER TABLE source.saved RENAME TO parcels"))
    return found


def validated(spec: ModelSpec, result_of_wait: str | None, begin: datetime = START) -> str:
    run = context("scheduled", result_of_wait, begin)
    period = runs.partition_of(spec, run["dag_run"], None)
    try:
        with waiting.validation_of_run(spec, run), pipeline.open_resources() as resources:
            pipeline.validate_partition(spec, "r", period, resources, mode="champion_then")
    except (SluiceError, AirflowSkipException) as error:
        return f"{type(error).__name__}: {error}"
    return "passed"


def announced(named: str | None, at: timedelta, **extra: Any) -> bool:
    period = runs.partition_of(DECLARED, context("scheduled")["dag_run"], None)
    event = SimpleNamespace(timestamp=END + at, extra=extra or None, partition_key=named)
    return waiting.announces(waits(), event, period)


NO_ROWS = "DELETE FROM source.parcels WHERE sent_at >= :start AND sent_at < :end"
delayed = waits(delay=6 * HOUR)
contract = waits(contract_holds=True, deadline=6 * HOUR)
both = waits(delay=2 * HOUR, contract_holds=True, deadline=6 * HOUR)


def contract_looks() -> dict[str, str]:
    return {
        "at once": look(contract, MINUTE),
        "near the deadline": look(contract, 6 * HOUR - MINUTE),
        "at the deadline": look(contract, 6 * HOUR),
        "long after": look(contract, 9 * HOUR),
        "by hand": look(contract, MINUTE, "manual"),
        "backfill": look(contract, MINUTE, "backfill"),
        "both, too early": look(both, HOUR),
        "both, due": look(both, 2 * HOUR),
        "validated at the deadline": validated(contract, waiting.AT_DEADLINE),
        "validated without a wait": validated(contract, None),
        "validated, another start": validated(delayed, waiting.AT_DEADLINE),
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    first = datetime(2026, 1, 2, tzinfo=UTC)
    unknown = cast("ModelSpec", contract.model_copy(update={"name": "nobody"}))
    report = {
        "delay": {
            f"{kind} {hours:g}": look(delayed, hours * HOUR, kind)
            for kind in ("scheduled", "manual", "backfill")
            for hours in (0, 5.5, 6)
        },
        "rows": {
            "at once": look(contract, MINUTE),
            "both, too early": look(both, HOUR),
            "long after": look(contract, 9 * HOUR),
        },
        "clock changed": [hour_of_start(datetime(2025, 3, 30)), hour_of_start(datetime(2025, 10, 26))],  # noqa: DTZ001
        "no rows": with_rows(NO_ROWS, contract_looks),
        "no table": with_rows("DROP TABLE source.parcels", lambda: look(contract, MINUTE)),
        "no champion": [look(unknown, MINUTE), validated(contract, waiting.AT_DEADLINE, first).split(":")[0]],
        "events": {
            "after": announced(None, MINUTE),
            "at the end": announced(None, timedelta(0)),
            "before": announced(None, -MINUTE),
            "of the day, before": announced("2026-02-20", -MINUTE),
            "of the start, before": announced("2026-02-20T00:00:00", -MINUTE),
            "of the start, after": announced("2026-02-20T00:00:00", MINUTE),
            "of another day, after": announced("2026-02-19", MINUTE),
            "of something else, after": announced("europe", MINUTE),
            "extra, another day": announced(None, MINUTE, partition="2026-02-19T00:00:00+00:00"),
            "extra, this day": announced(None, MINUTE, partition="2026-02-20T00:00:00+00:00"),
            "extra without a name": announced(None, MINUTE, rows=3),
            "extra before the key": announced("2026-02-19", MINUTE, partition="2026-02-20"),
        },
    }  # fmt: skip
    sys.stdout.write("\nREPORT " + json.dumps(report) + "\n")


main()
