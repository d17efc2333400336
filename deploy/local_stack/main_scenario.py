"""The scenario of `make run`: champions of two samples, seven scored days of one, and a service that answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from deploy.local_stack.dag_runs import RETRAINED_MODELS, SCORED_DAYS, SCORED_MODEL, DagRuns
from deploy.local_stack.memory import MemoryMonitor
from deploy.local_stack.partitions import last_days
from deploy.local_stack.smoke_checks import SmokeChecks
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import StackStep
from deploy.local_stack.summary import Summary


@dataclass(frozen=True, slots=True)
class MainScenario:
    """The steps of `make run`, and their summary."""

    stack: Stack

    def steps(self) -> list[StackStep]:
        """Return the steps, each with what it depends on."""
        stack, runs, checks = self.stack, DagRuns(self.stack), SmokeChecks(self.stack)
        days = last_days(SCORED_DAYS, datetime.now(UTC))
        retrain = {model: f"retrain {model}" for model in RETRAINED_MODELS}
        score, airflow, service, samples = f"score {SCORED_MODEL}, {SCORED_DAYS} days", "Airflow", "service", "samples"
        return [
            StackStep("PostgreSQL", stack.start_database),
            StackStep("schemas", stack.migrate_schema, ("PostgreSQL",)),
            StackStep("Airflow's database", stack.migrate_airflow, ("PostgreSQL",)),
            StackStep(samples, stack.load_samples, ("schemas",)),
            # As soon as Airflow is up, it starts the runs that are due, and they need the samples.
            StackStep(airflow, stack.start_airflow, ("Airflow's database", samples)),
            StackStep(service, stack.start_service, ("schemas", airflow)),
            *(StackStep(title, partial(runs.retrain, model), (airflow, samples)) for model, title in retrain.items()),
            StackStep("Airflow's triggerer", stack.start_triggerer, (airflow, retrain[RETRAINED_MODELS[0]])),
            # Not before the work is done: until then, much that should be there is not.
            StackStep("watcher", stack.start_watcher, ("Airflow's triggerer", score)),
            # Scoring ends with a parity check, which needs the service.
            StackStep(score, partial(runs.score, SCORED_MODEL, days), (retrain[SCORED_MODEL], service)),
            *(
                StackStep(f"live prediction of {model}", partial(checks.predict, model), (service, title))
                for model, title in retrain.items()
            ),
            StackStep(f"score look-up of {SCORED_MODEL}", partial(checks.look_up, SCORED_MODEL), (service, score)),
        ]

    def summary(self, seconds: float, setup_seconds: float, memory: MemoryMonitor) -> Iterator[str]:
        """Yield the summary's lines."""
        yield from Summary(self.stack, last_days(SCORED_DAYS, datetime.now(UTC))).lines(seconds, setup_seconds, memory)
