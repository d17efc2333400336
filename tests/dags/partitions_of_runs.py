"""Run in a process of its own: prints, as JSON, which partition runs of Airflow score."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

from airflow.models.dagrun import DagRun
from airflow.timetables.base import DataInterval
from pendulum import instance

from include.errors import SluiceError
from include.models import declared_models
from include.settings import load_settings
from sluice_airflow import runs

START = datetime(2026, 2, 19, 23, tzinfo=UTC)  # midnight in Berlin
DAY = timedelta(days=1)
SPEC = declared_models(load_settings().models_dir)["apple"]


def run_of(run_type: str, length: timedelta | None = DAY) -> DagRun:
    interval = None if length is None else DataInterval(instance(START), instance(START + length))
    after = instance(START + DAY + timedelta(hours=1))
    date = None if interval is None else interval.start
    return DagRun("score_apple", "r", logical_date=date, run_type=run_type, data_interval=interval, run_after=after)


def partition(run: DagRun, text: str | None = None) -> str:
    try:
        return str(runs.partition_of(SPEC, run, text))
    except SluiceError as error:
        return f"SluiceError: {str(error).split(';')[0]}"


partitions = {
    "scheduled": partition(run_of("scheduled")),
    "manual": partition(run_of("manual")),
    "manual, a day named": partition(run_of("manual"), "2026-02-24"),
    "backfill, a day named": partition(run_of("backfill"), "2026-02-24"),
    "manual, no interval": partition(run_of("manual", None)),
    "manual, several days": partition(run_of("manual", 3 * DAY)),
    "manual, empty": partition(run_of("manual", timedelta(0))),
}
sys.stdout.write("\nREPORT " + json.dumps({"partitions": partitions}) + "\n")
