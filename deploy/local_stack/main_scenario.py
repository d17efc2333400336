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
from deploy.local_stack.steps import Step
from deploy.local_stack.summary import Summary


@dataclass(frozen=True, slots=True)
class MainScenario:
    """The steps of `make run`, and their summary."""

    stack: Stack

    def steps(self) -> list[Step]:
        """Return the steps, each with what it depends on."""
        stack, runs, checks = self.stack, DagRuns(self.stack), SmokeChecks(self.stack)
        days = last_days(SCORED_DAYS, datetime.now(UTC))
        retrain = {model: f"retrain {model}" for model in RETRAINED_MODELS}
        score, airflow, service, samples = f"score {SCORED_MODEL}, {SCORED_DAYS} days", "Airflow", "service", "samples"
        return [
            Step("PostgreSQL", stack.start_database),
            Step("schemas", stack.migrate_schema, ("PostgreSQL",)),
            Step("Airflow's database", stack.migrate_airflow, ("PostgreSQL",)),
            Step(samples, stack.load_samples, ("schemas",)),
            # Airflow runs what its schedules are due as soon as it is up, and that needs the samples.
            Step(airflow, stack.start_airflow, ("Airflow's database", samples)),
            Step(service, stack.start_service, ("schemas", airflow)),
            *(Step(title, partial(runs.retrain, model), (airflow, samples)) for model, title in retrain.items()),
            Step("Airflow's triggerer", stack.start_triggerer, (airflow, retrain[RETRAINED_MODELS[0]])),
            # After scoring, the service is asked for a sample of its predictions.
            Step(score, partial(runs.score, SCORED_MODEL, days), (retrain[SCORED_MODEL], service)),
            *(
                Step(f"live prediction of {model}", partial(checks.predict, model), (service, title))
                for model, title in retrain.items()
            ),
            Step(f"score look-up of {SCORED_MODEL}", partial(checks.look_up, SCORED_MODEL), (service, score)),
        ]

    def summary(self, seconds: float, setup_seconds: float, memory: MemoryMonitor) -> Iterator[str]:
        """Yield the summary's lines."""
        yield from Summary(self.stack, last_days(SCORED_DAYS, datetime.now(UTC))).lines(seconds, setup_seconds, memory)
