"""The scenario of `make distributed`: one partition, scored in eight shards by two Celery workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

from deploy.local_stack.airflow_api import MappedTask
from deploy.local_stack.airflow_home import ADMIN, WORKERS
from deploy.local_stack.broker import redis_server
from deploy.local_stack.dag_runs import SCORED_MODEL, DagRuns
from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.memory import MemoryMonitor
from deploy.local_stack.partitions import last_days
from deploy.local_stack.smoke_checks import SmokeChecks
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Note, StackStep, StepResult
from deploy.local_stack.summary import RULE
from deploy.local_stack.workers import Workers

SHARDS = 8
SHARD_TASK = "score"


@dataclass(frozen=True, slots=True)
class ShardedRun:
    """A run that scored a partition: its shards' tasks, and how many rows each staged."""

    day: date
    run_id: str
    seconds: float
    tasks: list[MappedTask]
    rows: list[int]


@dataclass(slots=True)
class DistributedScenario:
    """The steps of `make distributed`, and their summary."""

    stack: Stack
    workers: Workers = field(init=False)
    scored: ShardedRun | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        redis_server()  # fails at once where there is none
        self.workers = Workers(self.stack)

    def steps(self) -> list[StackStep]:
        """Return the steps, each with what it depends on."""
        stack, runs, checks = self.stack, DagRuns(self.stack), SmokeChecks(self.stack)
        retrain = f"retrain {SCORED_MODEL}"
        score = f"score a day of {SCORED_MODEL} in {SHARDS} shards"
        return [
            StackStep("PostgreSQL", stack.start_database),
            StackStep("broker", self.workers.start_broker),
            StackStep("schemas", stack.migrate_schema, ("PostgreSQL",)),
            StackStep("Airflow's database", stack.migrate_airflow, ("PostgreSQL",)),
            StackStep("samples", stack.load_samples, ("schemas",)),
            StackStep("Airflow", stack.start_airflow, ("Airflow's database", "samples", "broker")),
            StackStep("workers", self.workers.start_workers, ("Airflow",)),
            StackStep("service", stack.start_service, ("schemas", "Airflow")),
            StackStep(retrain, partial(runs.retrain, SCORED_MODEL), ("workers",)),
            StackStep("Airflow's triggerer", stack.start_triggerer, (retrain,)),
            StackStep(score, self.score, (retrain, "service")),
            StackStep("watcher", stack.start_watcher, ("Airflow's triggerer", score)),
            StackStep(f"score look-up of {SCORED_MODEL}", partial(checks.look_up, SCORED_MODEL), (score,)),
        ]

    def score(self, note: Note) -> StepResult:
        """Score yesterday in eight shards, and read from Airflow which worker ran which."""
        api, dag_id = self.stack.api, f"score_{SCORED_MODEL}"
        runs = DagRuns(self.stack)
        runs.await_dag(dag_id, note)
        (day,) = last_days(1, datetime.now(UTC))
        conf = {"partition": day.isoformat(), "shards": SHARDS}
        began = datetime.now(UTC)
        run_id = api.trigger(dag_id, conf, "Started by make distributed.")
        runs.follow(dag_id, {run_id: ""}, note)
        seconds = (datetime.now(UTC) - began).total_seconds()
        tasks = api.mapped_tasks(dag_id, run_id, SHARD_TASK)
        rows = [int(api.return_value(dag_id, run_id, SHARD_TASK, task.map_index)["row_count"]) for task in tasks]
        self.scored = ShardedRun(day, run_id, seconds, tasks, rows)
        workers = {task.worker for task in tasks}
        if len(tasks) != SHARDS or workers != set(WORKERS):
            raise LocalStackError(
                f"expected {SHARDS} shards on {' and '.join(WORKERS)}; found {len(tasks)} on "
                f"{', '.join(sorted(str(worker) for worker in workers)) or 'none'}.",
                "Run again: a worker that starts slowly may have got none.",
                self.stack.settings.log_dir,
            )
        runs.partitions.reconcile(SCORED_MODEL, [day])
        return StepResult(f"{sum(rows):,} rows in {SHARDS} shards on {len(workers)} workers")

    def summary(self, seconds: float, setup_seconds: float, memory: MemoryMonitor) -> Iterator[str]:
        """Yield the summary's lines."""
        yield ""
        yield RULE
        if self.scored is not None:
            yield from _table(self.scored)
        for name in WORKERS:
            tasks = [task for task in self.scored.tasks if task.worker == name] if self.scored else []
            yield f"  {name}: {len(tasks)} shards, log {self.stack.settings.log_dir / name}.log"
        yield ""
        password = self.stack.airflow.secrets.password
        yield f"Airflow   {self.stack.airflow_address}   user {ADMIN}, password {password}   CeleryExecutor"
        yield f"Service   {self.stack.service_address}"
        yield f"Broker    Redis on 127.0.0.1:{self.workers.broker.port}, in {self.workers.broker.folder}"
        yield f"Database  {self.stack.database_url}"
        yield (
            f"Time: {setup_seconds:.0f} s for set-up and {seconds:.0f} s for the steps; peak memory of all processes "
            f"together: {memory.peak / 2**20:,.0f} MiB ({memory.measure})"
        )
        yield RULE


def _table(scored: ShardedRun) -> Iterator[str]:
    yield f"{SCORED_MODEL}, {scored.day}: run {scored.run_id}"
    yield f"  {'shard':>5}  {'worker':<10} {'try':>3} {'rows':>8} {'seconds':>8}   recorded by Airflow"
    for task, rows in zip(scored.tasks, scored.rows, strict=True):
        seconds = task.seconds or 0
        yield f"  {task.map_index:>5}  {task.worker or '-':<10} {task.try_number:>3} {rows:>8,} {seconds:>8.2f}"
    yield (
        f"  total: {sum(scored.rows):,} rows, {scored.seconds:.1f} s from the trigger to the end of the run, "
        "equal to the source"
    )
