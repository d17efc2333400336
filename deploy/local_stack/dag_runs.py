"""The main job of `make run`: retrain the samples and score their partitions, by Airflow, followed live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import text

from deploy.local_stack.airflow_api import AirflowApi, TaskState
from deploy.local_stack.partitions import Partitions
from deploy.local_stack.polling import poll_until
from deploy.local_stack.stack import Note, Stack
from deploy.local_stack.steps import Outcome
from deploy.local_stack.supervisor import last_words
from include.errors import LocalStackError
from include.registry import Ledger

RETRAINED = ("iris", "flight_delay")
SCORED = "flight_delay"
PARTITIONS = 7
RUN_SECONDS = 900.0
NOTE = "Started by make run."
DUE_SECONDS = 15.0
GIVEN_UP = ("failed", "upstream_failed")


@dataclass(slots=True)
class Jobs:
    """Runs of Airflow's DAGs, each skipped when what it makes is there already."""

    stack: Stack

    @property
    def partitions(self) -> Partitions:
        """The score partitions in the stack's database."""
        return Partitions(self.stack.warehouse, self.stack.settings.models_dir)

    def retrain(self, model: str, note: Note) -> Outcome:
        """Retrain `model` and see its candidate promoted, unless the model has a champion."""
        ledger = Ledger(self.stack.warehouse)
        champion = ledger.champion(model)
        if champion is not None:
            return Outcome(f"version {champion.to_version} is champion", kept=True)
        dag_id = f"retrain_{model}"
        self.wait_for_dag(dag_id, note)
        run_id = self._under_way(dag_id) or self.stack.api.trigger(dag_id, {}, NOTE)
        self.follow(dag_id, {run_id: ""}, note)
        champion = ledger.champion(model)
        if champion is None:
            raise self._rejected(ledger, model, dag_id)
        return Outcome(f"version {champion.to_version} is the new champion")

    def score(self, model: str, days: Sequence[date], note: Note) -> Outcome:
        """Score and publish the daily partitions of `days` that are not published."""
        published = self.partitions.published(model)
        missing = [day for day in days if day not in published]
        if not missing:
            return Outcome(f"{len(days)} partitions are published", kept=True)
        dag_id = f"score_{model}"
        self.wait_for_dag(dag_id, note)
        under_way = {conf.get("partition"): run for run, conf in self.stack.api.active_runs(dag_id).items()}
        runs = {}
        for day in missing:
            partition = day.isoformat()
            run_id = under_way.get(partition) or self.stack.api.trigger(dag_id, {"partition": partition}, NOTE)
            runs[run_id] = partition
        self.follow(dag_id, runs, note)
        absent = [day.isoformat() for day in missing if day not in self.partitions.published(model)]
        if absent:
            raise LocalStackError(
                f"{dag_id} succeeded, yet {', '.join(absent)} are not in sluice.partition_publication.",
                "Read the log of its task `score` in that folder, and run again.",
                self.stack.airflow.folder / "logs" / f"dag_id={dag_id}",
            )
        self.partitions.reconcile(model, missing)
        kept = f", {len(days) - len(missing)} kept" if len(missing) < len(days) else ""
        return Outcome(f"{len(missing)} partitions published{kept}")

    def follow(self, dag_id: str, runs: Mapping[str, str], note: Note) -> None:
        """Wait until every run has succeeded.

        Parameters
        ----------
        runs : mapping of str to str
            Run ids, each with what to call it; a single run needs no name.

        Raises
        ------
        LocalStackError
            At the first that failed, with the failed task's error and log.
        """
        remaining = dict(runs)
        told: dict[str, str] = {}

        def finished() -> bool | None:
            self.stack.check_processes()
            for run_id, name in list(remaining.items()):
                state = self.stack.api.run_state(dag_id, run_id)
                if state == "success":
                    del remaining[run_id]
                    told.pop(run_id, None)
                    continue
                tasks = self.stack.api.tasks(dag_id, run_id)
                if state == "failed":
                    raise self._failure(dag_id, run_id, name, tasks)
                told[run_id] = f"{name}: {active(tasks)}" if name else describe(tasks)
            count = f"{len(runs) - len(remaining)} of {len(runs)} done; " if len(runs) > 1 else ""
            note(count + ", ".join(each for each in told.values() if not each.endswith(": ")))
            return None if remaining else True

        poll_until(
            finished, self.stack.stop, seconds=RUN_SECONDS, otherwise=lambda: self._slow(dag_id, told), every=0.4
        )

    def wait_for_dag(self, dag_id: str, note: Note) -> None:
        """Wait until Airflow has read the DAG, and see that it is not paused."""
        api = self.stack.api

        def known() -> bool | None:
            self.stack.check_processes()
            paused = api.dags().get(dag_id)
            if paused:
                api.unpause(dag_id)
            return None if paused is None else True

        note(f"waiting for Airflow to read the DAG {dag_id}")
        poll_until(known, self.stack.stop, seconds=120, otherwise=lambda: _no_such_dag(api, dag_id), every=0.3)

    def _under_way(self, dag_id: str) -> str | None:
        """Return a run that has not ended: of an interrupted start, or the one that the schedule is due.

        A schedule whose last slot lies in the past runs it when Airflow boots; a second run by hand
        would train the same again.
        """
        api = self.stack.api

        def settled() -> tuple[str | None] | None:
            # In this order: the scheduler makes the run and moves the schedule on in one transaction.
            due = api.is_due(dag_id)
            runs = list(api.active_runs(dag_id))
            if runs:
                return (runs[0],)
            return None if due else (None,)

        with suppress(TimeoutError):
            return poll_until(settled, self.stack.stop, seconds=DUE_SECONDS, otherwise=TimeoutError)[0]
        return None

    def _failure(self, dag_id: str, run_id: str, name: str, tasks: Sequence[TaskState]) -> LocalStackError:
        failed = next((task for task in tasks if task.state in GIVEN_UP), None)
        where = f"task {failed.task_id}, try {failed.try_number}" if failed else "no task"
        log = self._log_of(dag_id, run_id, failed)
        reason = self._alerted(run_id) or (last_words(log) if log else "Airflow gave no reason")
        return LocalStackError(
            f"{dag_id}{f' for {name}' if name else ''} failed ({where}): {reason}",
            "Mend the cause and run again: what is done is kept.",
            log,
        )

    def _alerted(self, run_id: str) -> str | None:
        query = text("SELECT error FROM sluice.alert WHERE run_id = :run ORDER BY task_id IS NULL, id DESC LIMIT 1")
        with self.stack.warehouse.connect() as connection:
            found = connection.execute(query, {"run": run_id}).scalar()
        return None if found is None else str(found)

    def _log_of(self, dag_id: str, run_id: str, task: TaskState | None) -> Path | None:
        folder = self.stack.airflow.folder / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        if task is None:
            return folder if folder.is_dir() else None
        attempts = sorted((folder / f"task_id={task.task_id}").glob("attempt=*.log"))
        return attempts[-1] if attempts else None

    def _rejected(self, ledger: Ledger, model: str, dag_id: str) -> LocalStackError:
        versions = ledger.versions(model)
        reasons = "; ".join(versions[-1].decision.reasons) if versions else "no version was registered"
        return LocalStackError(
            f"{dag_id} succeeded, yet '{model}' has no champion: {reasons.rstrip('.')}.",
            f"Change the gates or the estimator in include/models/{model}/spec.py, or mend the data; then run again.",
            self.stack.airflow.folder / "logs" / f"dag_id={dag_id}",
        )

    def _slow(self, dag_id: str, told: Mapping[str, str]) -> LocalStackError:
        return LocalStackError(
            f"expected {dag_id} to end within {RUN_SECONDS:.0f} s; found: {', '.join(told.values())}.",
            "Run again to go on waiting for the same run; on a slow machine that is all it needs.",
            self.stack.settings.log_dir / "scheduler.log",
        )


def describe(tasks: Sequence[TaskState]) -> str:
    """Return where a run stands: how many of its tasks are done, and what the others do."""
    done = sum(task.state in ("success", "skipped") for task in tasks)
    doing = active(tasks)
    return f"{done}/{len(tasks)} tasks" + (f", {doing}" if doing else "")


def active(tasks: Sequence[TaskState]) -> str:
    """Return what those tasks of a run do that neither ended nor wait for others."""
    words = [
        f"{task.task_id} {task.state.replace('_', ' ')}{_try(task)}"
        for task in tasks
        if task.state not in (None, "success", "skipped", "scheduled", "none")
    ]
    return ", ".join(words)


def _try(task: TaskState) -> str:
    return f" (try {task.try_number})" if task.try_number > 1 or task.state == "up_for_retry" else ""


def _no_such_dag(api: AirflowApi, dag_id: str) -> LocalStackError:
    errors = api.import_errors()
    told = "; ".join(f"{file}: {trace.strip().splitlines()[-1]}" for file, trace in errors.items())
    return LocalStackError(
        f"expected Airflow to know the DAG {dag_id}; found {', '.join(sorted(api.dags())) or 'none'}."
        + (f" These files do not import: {told}" if told else ""),
        "Mend the file that is named, or the model's spec.py; read dag-processor.log for more. Then run again.",
    )
