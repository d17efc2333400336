"""What `make run` says when all is up: the champions and their figures, the scores, where to look."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from deploy.local_stack.airflow_home import ADMIN
from deploy.local_stack.dag_runs import RETRAINED, SCORED, Jobs
from deploy.local_stack.memory import MemoryWatch
from deploy.local_stack.stack import Stack
from include.errors import DatabaseError
from include.records import Interval
from include.registry import Ledger
from include.spec import METRICS
from include.warehouse.embedded import binary

RULE = "-" * 100


@dataclass(frozen=True, slots=True)
class Summary:
    """Reads what there is from the ledger and the tables, and puts it into lines."""

    stack: Stack
    days: Sequence[date]

    def lines(self, seconds: float, setup_seconds: float, memory: MemoryWatch) -> Iterator[str]:
        """Yield the summary's lines.

        Parameters
        ----------
        seconds : float
            What starting took, from the first step to the last.
        setup_seconds : float
            What `make` took before that.
        memory : MemoryWatch
        """
        yield ""
        yield RULE
        ledger = Ledger(self.stack.warehouse)
        for model in RETRAINED:
            yield from self._model(ledger, model)
        yield from self._scores()
        yield from self._addresses()
        yield ""
        yield (
            f"Took {_minutes(seconds + setup_seconds)}: {_minutes(setup_seconds)} of set-up, "
            f"{_minutes(seconds)} from the first step to the last."
        )
        yield (
            f"Peak memory of all processes together: {memory.peak / 2**20:,.0f} MiB "
            f"({memory.measure}, looked at every second)."
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
            f"{champion.actor}; judged on {evaluation.rows:,} rows later than its training"
        )
        yield from metric_table(evaluation.candidate, evaluation.baseline, evaluation.intervals)
        gates = version.decision.gates
        yield f"  gates passed: {sum(gate.passed for gate in gates)} of {len(gates)}"
        for gate in gates:
            yield f"    {'+' if gate.passed else '-'} {gate.sentence}"
        yield ""

    def _scores(self) -> Iterator[str]:
        yield f"Rows in scores.{SCORED}, day by day"
        for each in Jobs(self.stack).partitions.counts(SCORED, self.days):
            verdict = "equal to the source" if each.rows == each.source_rows else f"the source has {each.source_rows:,}"
            yield f"  {each.day}  {each.rows:>6,} rows, version {each.version}, {verdict}"
        yield ""
        yield "To read them, paste:"
        yield f"  {psql_line(self.stack.database_url, SCORED)}"

    def _addresses(self) -> Iterator[str]:
        settings = self.stack.settings
        yield ""
        yield f"Airflow   {self.stack.airflow_address}   user {ADMIN}, password {self.stack.airflow.secrets.password}"
        yield f"Service   {self.stack.service_address}   POST /v1/models/<model>/predict, GET /v1/models, /ready"
        yield f"Logs      {settings.log_dir}"
        yield f"Data Docs {settings.docs_dir}"


def metric_table(
    candidate: Mapping[str, float], baseline: Mapping[str, float], intervals: Mapping[str, Interval] | None = None
) -> Iterator[str]:
    """Yield a table of the champion's metrics with their intervals, and the baseline's beside them."""
    known = intervals or {}
    yield f"  {'metric':<18} {'champion':>10} {'interval':>18} {'baseline':>10}"
    for name, figure in candidate.items():
        beside = baseline.get(name)
        told = f"{beside:>10.4f}" if beside is not None else f"{'-':>10}"
        direction = "higher is better" if METRICS[name].higher_is_better else "lower is better"
        reach = f"{known[name].low:.4f} to {known[name].high:.4f}" if name in known else "-"
        yield f"  {name:<18} {figure:>10.4f} {reach:>18} {told}   {direction}"


def psql_line(url: str, model: str) -> str:
    """Return a shell line that shows scores of `model`, with the embedded psql where there is one."""
    query = f"SELECT * FROM scores.{model} ORDER BY partition_start DESC, entity_key LIMIT 5"  # noqa: S608  # a declared name, shown to a person
    return shlex.join([_psql(), url, "-c", query])


def _psql() -> str:
    try:
        embedded = binary("psql")
    except DatabaseError:  # not installed: whoever has a server of their own has a psql too
        return "psql"
    return embedded if Path(embedded).exists() else "psql"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.1f} s"
