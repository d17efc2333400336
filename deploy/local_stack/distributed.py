"""What `make distributed` is for: one partition, scored in eight shards by workers in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

from deploy.local_stack.airflow_api import MappedTask
from deploy.local_stack.airflow_home import ADMIN, WORKERS
from deploy.local_stack.broker import redis_server
from deploy.local_stack.dag_runs import SCORED, Jobs
from deploy.local_stack.memory import MemoryWatch
from deploy.local_stack.partitions import last_days
from deploy.local_stack.smoke_checks import Calls
from deploy.local_stack.stack import Note, Stack
from deploy.local_stack.steps import Outcome, Step
from deploy.local_stack.summary import RULE
from deploy.local_stack.workers import Workers
from include.errors import LocalStackError

SHARDS = 8
SHARD_TASK = "score"


@dataclass(frozen=True, slots=True)
class Sharded:
    """A partition that was scored: the run, what each shard's task did, and how many rows it staged."""

    day: date
    run_id: str
    seconds: float
    tasks: list[MappedTask]
    rows: list[int]


@dataclass(slots=True)
class DistributedJob:
    """The steps of `make distributed`, and their summary."""

    stack: Stack
    workers: Workers = field(init=False)
    scored: Sharded | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        redis_server()  # without it there is nothing to begin
        self.workers = Workers(self.stack)

    def steps(self) -> list[Step]:
        """Return the steps, each with what it needs."""
        stack, jobs, calls = self.stack, Jobs(self.stack), Calls(self.stack)
        retraining = f"retrain {SCORED}"
        scoring = f"score a day of {SCORED} in {SHARDS} shards"
        return [
            Step("PostgreSQL", stack.start_database),
            Step("broker", self.workers.start_broker),
            Step("schemas", stack.migrate_schema, ("PostgreSQL",)),
            Step("Airflow's database", stack.migrate_airflow, ("PostgreSQL",)),
            Step("samples", stack.load_samples, ("schemas",)),
            Step("Airflow", stack.start_airflow, ("Airflow's database", "samples", "broker")),
            Step("workers", self.workers.start_workers, ("Airflow",)),
            Step("service", stack.start_service, ("schemas", "Airflow")),
            Step(retraining, partial(jobs.retrain, SCORED), ("workers",)),
            Step("Airflow's triggerer", stack.start_triggerer, (retraining,)),
            Step(scoring, self.score, (retraining, "service")),
            Step(f"score look-up of {SCORED}", partial(calls.look_up, SCORED), (scoring,)),
        ]

    def score(self, note: Note) -> Outcome:
        """Score yesterday in eight shards, and read from Airflow's records which worker ran which."""
        api, dag_id = self.stack.api, f"score_{SCORED}"
        jobs = Jobs(self.stack)
        jobs.wait_for_dag(dag_id, note)
        (day,) = last_days(1, datetime.now(UTC))
        conf = {"partition": day.isoformat(), "shards": SHARDS}
        began = datetime.now(UTC)
        run_id = api.trigger(dag_id, conf, "Started by make distributed.")
        jobs.follow(dag_id, {run_id: ""}, note)
        seconds = (datetime.now(UTC) - began).total_seconds()
        tasks = api.mapped(dag_id, run_id, SHARD_TASK)
        rows = [int(api.returned(dag_id, run_id, SHARD_TASK, task.map_index)["row_count"]) for task in tasks]
        self.scored = Sharded(day, run_id, seconds, tasks, rows)
        used = {task.worker for task in tasks}
        if len(tasks) != SHARDS or used != set(WORKERS):
            raise LocalStackError(
                f"expected {SHARDS} shards on {' and '.join(WORKERS)}; found {len(tasks)} on "
                f"{', '.join(sorted(str(worker) for worker in used)) or 'none'}.",
                "A worker that starts slowly takes none: run again.",
                self.stack.settings.log_dir,
            )
        jobs.partitions.reconcile(SCORED, [day])
        return Outcome(f"{sum(rows):,} rows in {SHARDS} shards on {len(used)} workers")

    def lines(self, seconds: float, setup_seconds: float, memory: MemoryWatch) -> Iterator[str]:
        """Yield the summary's lines."""
        yield ""
        yield RULE
        if self.scored is not None:
            yield from _table(self.scored)
        for name in WORKERS:
            took = [task for task in self.scored.tasks if task.worker == name] if self.scored else []
            yield f"  {name}: {len(took)} shards, log {self.stack.settings.log_dir / name}.log"
        yield ""
        password = self.stack.airflow.secrets.password
        yield f"Airflow   {self.stack.airflow_address}   user {ADMIN}, password {password}   CeleryExecutor"
        yield f"Service   {self.stack.service_address}"
        yield f"Broker    Redis on 127.0.0.1:{self.workers.broker.port}, in {self.workers.broker.folder}"
        yield f"Database  {self.stack.database_url}"
        yield (
            f"Took {setup_seconds:.0f} s of set-up and {seconds:.0f} s from the first step to the last; at most "
            f"{memory.peak / 2**20:,.0f} MiB of memory ({memory.measure}) for all processes together."
        )
        yield RULE


def _table(scored: Sharded) -> Iterator[str]:
    yield f"{SCORED}, {scored.day}: run {scored.run_id}"
    yield f"  {'shard':>5}  {'worker':<10} {'try':>3} {'rows':>8} {'seconds':>8}   as Airflow recorded them"
    for task, rows in zip(scored.tasks, scored.rows, strict=True):
        took = task.seconds or 0
        yield f"  {task.map_index:>5}  {task.worker or '-':<10} {task.try_number:>3} {rows:>8,} {took:>8.2f}"
    yield (
        f"  all of it: {sum(scored.rows):,} rows, {scored.seconds:.1f} s from the trigger to the end of the run, "
        "equal to the source"
    )
