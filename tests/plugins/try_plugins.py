"""Run in a process of its own, because importing Airflow takes over logging: prints, as JSON, what the plugins say."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from include import errors
from sluice_airflow import runs
from sluice_airflow.defaults import RETRY_POLICY
from sluice_airflow.notifier import SluiceNotifier, SuccessNotifier

MORNING = datetime(2026, 3, 1, 5, tzinfo=UTC)


@dataclass
class Run:
    run_type: str = "manual"
    logical_date: datetime | None = None
    run_after: datetime = MORNING
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


def partitions() -> dict[str, str]:
    daily, six, hourly, never = (
        SimpleNamespace(score_schedule=cron, score_timezone="UTC")
        for cron in ("0 0 * * *", "0 6 * * *", "0 * * * *", None)
    )
    day = {
        "data_interval_start": datetime(2026, 2, 3, tzinfo=UTC),
        "data_interval_end": datetime(2026, 2, 4, tzinfo=UTC),
    }
    cases: dict[str, tuple[Any, Run, str | None]] = {
        "scheduled": (daily, Run("scheduled", **day), None),
        "backfilled": (daily, Run("backfill", **day), None),
        "backfilled, with a day": (daily, Run("backfill", **day), "2026-01-15"),
        "by hand": (daily, Run(), None),
        "by hand, with a day": (daily, Run(**day), "2026-01-15"),
        "by hand, as of a date": (daily, Run(**day), None),
        "by hand, six o'clock, with a day": (six, Run(), "2026-01-15"),
        "by hand, six o'clock": (six, Run(), None),
        "by hand, hourly, with a day": (hourly, Run(), "2026-01-15"),
        "by hand, no schedule": (never, Run(), None),
        "by hand, no schedule, with a day": (never, Run(), "2026-01-15"),
    }
    return {name: str(runs.partition_of(spec, run, asked)) for name, (spec, run, asked) in cases.items()}


def retries() -> dict[str, str]:
    failures = [
        errors.UnknownVersionError("iris", 9, [1]),
        errors.NoChampionError("iris"),
        errors.ValidationFailedError("iris", "2026", ["bad"], None),
        errors.ConversionError("iris", "step", "reason", "advice"),
        errors.SpecError(Path("spec.py"), [errors.Finding(Path("spec.py"), "expected a; found b")]),
        errors.PromotionConflictError("iris", 1, 2, "someone"),
        errors.DatabaseError("down"),
        errors.ReconciliationError("rows changed"),
        errors.TrainingBackendError("dask", "the package is missing", "Install it."),
        errors.ChallengerIncompatibleError("iris", 2, "it needs another feature"),
        errors.SluiceError("of no class of its own"),
        errors.ServiceClientError("http://127.0.0.1:1", "an answer", "none"),
        errors.ParityNotCheckedError("partition", "reason"),
        OSError("disk"),
    ]
    return {type(error).__name__: RETRY_POLICY.evaluate(error, 1, 3).action.name for error in failures}


def first_champion() -> dict[str, str]:
    ends = {}
    for run_type in ("scheduled", "manual"):
        try:
            with runs.skip_without_champion(Run(run_type)):
                fail()
        except (AirflowSkipException, errors.NoChampionError) as error:
            ends[run_type] = type(error).__name__
    return ends


def fail() -> None:
    raise errors.NoChampionError("iris")


def notify() -> None:
    """Speak for six runs: a task's failure known, then its run's; a run whose task died silently; a timeout; the first
    run again, which was cleared, and whose task then died silently; and a task that a newer run has replaced.
    """
    of_task, of_run = SluiceNotifier("iris"), SluiceNotifier("iris", of_run=True)
    dag = DAG("retrain_iris", schedule=None)
    known = {"dag": dag, "run_id": "known"}
    task = SimpleNamespace(dag_id="retrain_iris", run_id="known", task_id="train", try_number=1)
    of_task(known | {"ti": task, "exception": ValueError("no rows")})
    of_run(known | {"ti": task, "reason": "task_failure"})
    killed = SimpleNamespace(dag_id="retrain_iris", run_id="silent", task_id="export", try_number=3)
    of_run({"dag": dag, "run_id": "silent", "ti": killed, "reason": "task_failure"})
    of_run(known | {"reason": "timed_out"})
    again = SimpleNamespace(dag_id="retrain_iris", run_id="known", task_id="train", try_number=2)
    of_run(known | {"ti": again, "reason": "task_failure"})
    replaced = SimpleNamespace(dag_id="retrain_iris", run_id="replaced", task_id="score", try_number=1)
    fenced = errors.FencedError("shard 0", 1, "replaced", 2, "newer", "12:00")
    of_task({"dag": dag, "run_id": "replaced", "ti": replaced, "exception": fenced})
    of_run({"dag": dag, "run_id": "replaced", "ti": replaced, "reason": "task_failure"})


def succeed() -> None:
    """Let two runs fail whose model is not declared, so that no partition is known, and one of them succeed."""
    dag = DAG("score_pear", schedule=None)
    failed, ended = SluiceNotifier("pear"), SuccessNotifier("pear")
    for run_id in ("first", "second"):
        task = SimpleNamespace(dag_id="score_pear", run_id=run_id, task_id="publish", try_number=1)
        run = SimpleNamespace(dag_id="score_pear", run_id=run_id, start_date=datetime.now(UTC))
        failed({"dag": dag, "run_id": run_id, "ti": task, "dag_run": run, "exception": ValueError("no disk")})
    run = SimpleNamespace(dag_id="score_pear", run_id="second", start_date=datetime.now(UTC))
    ended({"dag": dag, "run_id": "second", "dag_run": run})


REPORTS = {"partitions": partitions, "retries": retries, "first champion": first_champion}

notify()
succeed()
sys.stdout.write("\nREPORT " + json.dumps({name: report() for name, report in REPORTS.items()}) + "\n")
