"""The summary of `make run`: the champions and their metrics, the scores, and where to look."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from deploy.local_stack.airflow_home import ADMIN, REVIEWER
from deploy.local_stack.dag_runs import RETRAINED_MODELS, SCORED_MODEL, DagRuns
from deploy.local_stack.memory import MemoryMonitor
from deploy.local_stack.stack import Stack
from include.errors import DatabaseError
from include.records import Interval
from include.registry import Ledger
from include.spec import METRICS
from include.warehouse.embedded import binary

RULE = "-" * 100


@dataclass(frozen=True, slots=True)
class Summary:
    """Reads champions and scores from the ledger and the tables, and formats them."""

    stack: Stack
    days: Sequence[date]

    def lines(self, seconds: float, setup_seconds: float, memory: MemoryMonitor) -> Iterator[str]:
        """Yield the summary's lines.

        Parameters
        ----------
        seconds : float
            From the first step to the last.
        setup_seconds : float
            What `make` needed before that.
        memory : MemoryMonitor
        """
        yield ""
        yield RULE
        ledger = Ledger(self.stack.warehouse)
        for model in RETRAINED_MODELS:
            yield from self._model(ledger, model)
        yield from self._scores()
        yield from self._addresses()
        yield ""
        yield (
            f"Time: {_minutes(seconds + setup_seconds)}, of which {_minutes(setup_seconds)} for set-up and "
            f"{_minutes(seconds)} for the steps"
        )
        yield (
            f"Peak memory of all processes together: {memory.peak / 2**20:,.0f} MiB "
            f"({memory.measure}, measured every second)"
        )
        yield RULE

    def _model(self, ledger: Ledger, model: str) -> Iterator[str]:
        champion = ledger.champion(model)
        if champion is None:
            return
        version = ledger.version(model, champion.to_version)
        evaluation = version.evaluation
        yield (
            f"{model}: champion is version {version.version}, promoted {champion.promoted_at:%Y-%m-%d %H:%M} UTC by "
            f"{champion.actor}; evaluated on {evaluation.rows:,} holdout rows, all later than its training rows"
        )
        yield from metric_table(evaluation.candidate, evaluation.baseline, evaluation.intervals)
        gates = version.decision.gates
        yield f"  gates passed: {sum(gate.passed for gate in gates)} of {len(gates)}"
        for gate in gates:
            yield f"    {'+' if gate.passed else '-'} {gate.sentence}"
        yield ""

    def _scores(self) -> Iterator[str]:
        yield f"Rows in scores.{SCORED_MODEL} by day"
        for each in DagRuns(self.stack).partitions.row_counts(SCORED_MODEL, self.days):
            comparison = (
                "equal to the source" if each.rows == each.source_rows else f"the source has {each.source_rows:,}"
            )
            yield f"  {each.day}  {each.rows:>6,} rows, version {each.version}, {comparison}"
        yield ""
        yield "To read them, paste this line:"
        yield f"  {psql_line(self.stack.database_url, SCORED_MODEL)}"

    def _addresses(self) -> Iterator[str]:
        settings, secrets = self.stack.settings, self.stack.airflow.secrets
        yield ""
        yield f"Airflow   {self.stack.airflow_address}   user {ADMIN}, password {secrets.password}"
        yield f"          who approves what {ADMIN} started: user {REVIEWER}, password {secrets.reviewer_password}"
        yield f"Service   {self.stack.service_address}   POST /v1/models/<model>/predict, GET /v1/models, /ready"
        yield f"Logs      {settings.log_dir}"
        yield f"Data Docs {settings.docs_dir}"


def metric_table(
    candidate: Mapping[str, float], baseline: Mapping[str, float], intervals: Mapping[str, Interval] | None = None
) -> Iterator[str]:
    """Yield a table of the champion's metrics, their confidence intervals, and the baseline's metrics."""
    intervals = intervals or {}
    yield f"  {'metric':<18} {'champion':>10} {'interval':>18} {'baseline':>10}"
    for name, value in candidate.items():
        of_baseline = f"{baseline[name]:.4f}" if name in baseline else "-"
        interval = f"{intervals[name].low:.4f} to {intervals[name].high:.4f}" if name in intervals else "-"
        direction = "higher is better" if METRICS[name].higher_is_better else "lower is better"
        yield f"  {name:<18} {value:>10.4f} {interval:>18} {of_baseline:>10}   {direction}"


def psql_line(url: str, model: str) -> str:
    """Return a shell command that shows scores of `model`, with the embedded psql if it is installed."""
    query = f"SELECT * FROM scores.{model} ORDER BY partition_start DESC, entity_key LIMIT 5"  # noqa: S608  # a declared name, shown to a person
    return shlex.join([_psql(), url, "-c", query])


def _psql() -> str:
    try:
        embedded = binary("psql")
    except DatabaseError:  # not installed: an external server usually comes with psql
        return "psql"
    return embedded if Path(embedded).exists() else "psql"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.1f} s"
