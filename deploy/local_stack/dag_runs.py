"""Runs of Airflow's DAGs: trigger them, follow them to their end, and check what they wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import text

from deploy.local_stack.airflow_api import AirflowApi, TaskState
from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.partitions import PublishedPartitions
from deploy.local_stack.polling import poll_until
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Note, StepResult
from include.processes import log_tail
from include.registry import Ledger, active_hold

RETRAINED_MODELS = ("iris", "flight_delay")
SCORED_MODEL = "flight_delay"
SCORED_DAYS = 7

RUN_TIMEOUT_SECONDS = 900.0
DAG_TIMEOUT_SECONDS = 120.0
SCHEDULED_RUN_TIMEOUT_SECONDS = 15.0
RUN_NOTE = "Started by make run."
FAILED_STATES = ("failed", "upstream_failed")


@dataclass(slots=True)
class DagRuns:
    """Runs of Airflow's DAGs. A run is skipped when its result exists already."""

    stack: Stack

    @property
    def partitions(self) -> PublishedPartitions:
        """The score partitions in the stack's database."""
        return PublishedPartitions(self.stack.warehouse, self.stack.settings.models_dir)

    def retrain(self, model: str, note: Note) -> StepResult:
        """Retrain `model`, and check that it has a champion then; skipped when it has one already."""
        ledger = Ledger(self.stack.warehouse)
        champion = ledger.champion(model)
        if champion is not None:
            return StepResult(f"version {champion.to_version} is champion", skipped=True)
        dag_id = f"retrain_{model}"
        self.await_dag(dag_id, note)
        # Without a champion, a version of the same rows that gates rejected is no reason not to try again.
        run_id = self._unfinished_run(dag_id) or self.stack.api.trigger(dag_id, {"again": True}, RUN_NOTE)
        self.follow(dag_id, {run_id: ""}, note)
        champion = ledger.champion(model)
        if champion is None:
            raise self._not_promoted(ledger, model, dag_id)
        return StepResult(f"version {champion.to_version} is the new champion")

    def score(self, model: str, days: Sequence[date], note: Note) -> StepResult:
        """Score and publish the daily partitions of `days` that are not published yet."""
        published = self.partitions.published(model)
        missing = [day for day in days if day not in published]
        if not missing:
            return StepResult(f"all {len(days)} partitions are published", skipped=True)
        dag_id = f"score_{model}"
        self.await_dag(dag_id, note)
        unfinished = {conf.get("partition"): run for run, conf in self.stack.api.active_runs(dag_id).items()}
        runs = {}
        for day in missing:
            partition = day.isoformat()
            run_id = unfinished.get(partition) or self.stack.api.trigger(dag_id, {"partition": partition}, RUN_NOTE)
            runs[run_id] = partition
        self.follow(dag_id, runs, note)
        absent = [day.isoformat() for day in missing if day not in self.partitions.published(model)]
        if absent:
            raise LocalStackError(
                f"{dag_id} succeeded, but {', '.join(absent)} are not in sluice.partition_publication.",
                "Read the log of its task `score` in the log folder, and run again.",
                self.stack.airflow.folder / "logs" / f"dag_id={dag_id}",
            )
        self.partitions.reconcile(model, missing)
        existing = f", {len(days) - len(missing)} existed already" if len(missing) < len(days) else ""
        return StepResult(f"{len(missing)} partitions published{existing}")

    def follow(self, dag_id: str, runs: Mapping[str, str], note: Note) -> None:
        """Wait until every run has succeeded, and show what its tasks do.

        Parameters
        ----------
        runs : mapping of str to str
            Run ids, each with the name to show; a single run needs none.

        Raises
        ------
        LocalStackError
            When a run has failed, with the failed task's error and log.
        """
        remaining = dict(runs)
        shown: dict[str, str] = {}

        def finished() -> bool | None:
            self.stack.check_processes()
            for run_id, name in list(remaining.items()):
                state = self.stack.api.run_state(dag_id, run_id)
                if state == "success":
                    del remaining[run_id]
                    shown.pop(run_id, None)
                    continue
                tasks = self.stack.api.tasks(dag_id, run_id)
                if state == "failed":
                    raise self._failure(dag_id, run_id, name, tasks)
                shown[run_id] = f"{name}: {active(tasks)}" if name else describe(tasks)
            count = f"{len(runs) - len(remaining)} of {len(runs)} done; " if len(runs) > 1 else ""
            note(count + ", ".join(each for each in shown.values() if not each.endswith(": ")))
            return None if remaining else True

        poll_until(
            finished,
            self.stack.stop,
            timeout=RUN_TIMEOUT_SECONDS,
            on_timeout=lambda: self._timed_out(dag_id, shown),
            interval=0.4,
        )

    def await_dag(self, dag_id: str, note: Note) -> None:
        """Wait until Airflow has read the DAG, and unpause it."""
        api = self.stack.api

        def known() -> bool | None:
            self.stack.check_processes()
            paused = api.dags().get(dag_id)
            if paused:
                api.unpause(dag_id)
            return None if paused is None else True

        note(f"waiting for Airflow to read the DAG {dag_id}")
        poll_until(
            known,
            self.stack.stop,
            timeout=DAG_TIMEOUT_SECONDS,
            on_timeout=lambda: _missing_dag(api, dag_id),
            interval=0.3,
        )

    def _unfinished_run(self, dag_id: str) -> str | None:
        """Return a run that has not ended: of an interrupted start, or a scheduled one that is due.

        When Airflow starts, it makes the scheduled run whose time has passed. A second run, triggered here, would
        train the same model again.
        """
        api = self.stack.api

        def settled() -> tuple[str | None] | None:
            # In this order: the scheduler makes the run and updates the schedule in one transaction.
            due = api.is_due(dag_id)
            runs = list(api.active_runs(dag_id))
            if runs:
                return (runs[0],)
            return None if due else (None,)

        with suppress(TimeoutError):
            (run_id,) = poll_until(
                settled, self.stack.stop, timeout=SCHEDULED_RUN_TIMEOUT_SECONDS, on_timeout=TimeoutError
            )
            return run_id
        return None

    def _failure(self, dag_id: str, run_id: str, name: str, tasks: Sequence[TaskState]) -> LocalStackError:
        failed = next((task for task in tasks if task.state in FAILED_STATES), None)
        where = f"task {failed.task_id}, try {failed.try_number}" if failed else "no task failed"
        log = self._log_of(dag_id, run_id, failed)
        reason = self._alert_of(run_id) or (log_tail(log, prefer_errors=True) if log else "Airflow gave no reason")
        return LocalStackError(
            f"{dag_id}{f' for {name}' if name else ''} failed ({where}): {reason}",
            "Fix the cause and run again: finished steps are kept.",
            log,
        )

    def _alert_of(self, run_id: str) -> str | None:
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

    def _not_promoted(self, ledger: Ledger, model: str, dag_id: str) -> LocalStackError:
        versions = ledger.versions(model)
        hold = active_hold(self.stack.warehouse, model)
        if hold is not None:
            return LocalStackError(
                f"{dag_id} succeeded, but '{model}' has no champion: {hold.sentence}.",
                f'Lift the hold: `sluice hold {model} --lift --reason "..."`; then run again.',
                self.stack.airflow.folder / "logs" / f"dag_id={dag_id}",
            )
        reasons = "; ".join(versions[-1].decision.reasons) if versions else "no version was registered"
        return LocalStackError(
            f"{dag_id} succeeded, but '{model}' has no champion: {reasons.rstrip('.')}.",
            f"Change the gates or the estimator in include/models/{model}/spec.py, or fix the data; then run again.",
            self.stack.airflow.folder / "logs" / f"dag_id={dag_id}",
        )

    def _timed_out(self, dag_id: str, shown: Mapping[str, str]) -> LocalStackError:
        return LocalStackError(
            f"expected {dag_id} to end within {RUN_TIMEOUT_SECONDS:.0f} s; found: {', '.join(shown.values())}.",
            "Run again to continue waiting for the same run; a slow machine needs more time.",
            self.stack.settings.log_dir / "scheduler.log",
        )


def describe(tasks: Sequence[TaskState]) -> str:
    """Return how many tasks of a run are done, and what the others do."""
    done = sum(task.state in ("success", "skipped") for task in tasks)
    others = active(tasks)
    return f"{done}/{len(tasks)} tasks" + (f", {others}" if others else "")


def active(tasks: Sequence[TaskState]) -> str:
    """Return the tasks of a run that have not ended and do not wait for others, each with its state."""
    states = [
        f"{task.task_id} {task.state.replace('_', ' ')}{_try(task)}"
        for task in tasks
        if task.state not in (None, "success", "skipped", "scheduled", "none")
    ]
    return ", ".join(states)


def _try(task: TaskState) -> str:
    return f" (try {task.try_number})" if task.try_number > 1 or task.state == "up_for_retry" else ""


def _missing_dag(api: AirflowApi, dag_id: str) -> LocalStackError:
    errors = api.import_errors()
    broken = "; ".join(f"{file}: {trace.strip().splitlines()[-1]}" for file, trace in errors.items())
    return LocalStackError(
        f"expected Airflow to know the DAG {dag_id}; found {', '.join(sorted(api.dags())) or 'none'}."
        + (f" These files cannot be imported: {broken}" if broken else ""),
        "Fix that file, or the model's spec.py, and run again. dag-processor.log has the details.",
    )
