"""What `make run` is for: champions of two samples, seven scored days of one, and a service that answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from deploy.local_stack.dag_runs import PARTITIONS, RETRAINED, SCORED, Jobs
from deploy.local_stack.memory import MemoryWatch
from deploy.local_stack.partitions import last_days
from deploy.local_stack.smoke_checks import Calls
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Step
from deploy.local_stack.summary import Summary


@dataclass(frozen=True, slots=True)
class MainJob:
    """The steps of `make run`, and their summary."""

    stack: Stack

    def steps(self) -> list[Step]:
        """Return the steps, each with what it needs."""
        stack, jobs, calls = self.stack, Jobs(self.stack), Calls(self.stack)
        days = last_days(PARTITIONS, datetime.now(UTC))
        retraining = {model: f"retrain {model}" for model in RETRAINED}
        scoring, airflow, service, samples = f"score {SCORED}, {PARTITIONS} days", "Airflow", "service", "samples"
        return [
            Step("PostgreSQL", stack.start_database),
            Step("schemas", stack.migrate_schema, ("PostgreSQL",)),
            Step("Airflow's database", stack.migrate_airflow, ("PostgreSQL",)),
            Step(samples, stack.load_samples, ("schemas",)),
            # Its schedules begin to run when it is up: they shall find the samples.
            Step(airflow, stack.start_airflow, ("Airflow's database", samples)),
            Step(service, stack.start_service, ("schemas", airflow)),
            *(Step(title, partial(jobs.retrain, model), (airflow, samples)) for model, title in retraining.items()),
            Step("Airflow's triggerer", stack.start_triggerer, (airflow, retraining[RETRAINED[0]])),
            # The service is asked about a sample of what is scored.
            Step(scoring, partial(jobs.score, SCORED, days), (retraining[SCORED], service)),
            *(
                Step(f"live prediction of {model}", partial(calls.predict, model), (service, title))
                for model, title in retraining.items()
            ),
            Step(f"score look-up of {SCORED}", partial(calls.look_up, SCORED), (service, scoring)),
        ]

    def lines(self, seconds: float, setup_seconds: float, memory: MemoryWatch) -> Iterator[str]:
        """Yield the summary's lines."""
        yield from Summary(self.stack, last_days(PARTITIONS, datetime.now(UTC))).lines(seconds, setup_seconds, memory)
