"""`sluice check`: all faults of a declaration at once, as it is written and as its data are.

`include.linting` reads the two files. Here the query is planned and run on a sample, the rows are compared with the
contract, and the estimator is fitted, converted and compared with its graph. Nothing is written to the database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from include.checking.cost import TrainingCost, estimate_cost
from include.checking.places import Places
from include.checking.trial import EstimatorTrial
from include.errors import (
    DatabaseError,
    Finding,
    NotEnoughDataError,
    QueryError,
    TimeLimitError,
    TrainingBudgetError,
    WorkerDiedError,
    is_transient,
)
from include.linting import Linted, lint
from include.models import read_spec
from include.spec import EntityKey, FeatureQuery, ModelSpec
from include.spec.features_query import decode_query

if TYPE_CHECKING:  # imported when they are needed: most faults are found before scikit-learn and ONNX are
    from include.checking.sample import RowCounts
    from include.records import Split

__all__ = ["ModelCheck", "TrainingCost", "check_model"]

STATEMENT_SECONDS: Final = 1.5
"""How long one statement may take by default; what takes longer is sampled, or not checked."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The result of a check.

    Attributes
    ----------
    model : str
    findings : tuple of Finding
        By file and line.
    skipped : tuple of str
        What was not checked, and why.
    cost : TrainingCost or None
    seconds : float
        How long the check took.
    database_failed : bool
        Whether something was skipped because the database did not answer.
    """

    model: str
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()
    cost: TrainingCost | None = None
    seconds: float = 0.0
    database_failed: bool = False

    @property
    def has_errors(self) -> bool:
        """Whether a training or a score would fail."""
        return any(finding.severity == "error" for finding in self.findings)


def check_model(
    file: Path,
    *,
    database_url: str | None,
    as_of: datetime,
    memory_mib: int,
    statement_seconds: float = STATEMENT_SECONDS,
) -> ModelCheck:
    """Check the declaration of the ``spec.py`` in `file`.

    Parameters
    ----------
    database_url : str or None
        None: only what needs no database.
    as_of : datetime
        The time of the training whose window is checked.
    memory_mib : int
        The limit of a training.
    statement_seconds : float
        The limit of each statement.
    """
    started = time.monotonic()
    check = _Check(file, lint(file), as_of, memory_mib, statement_seconds)
    failed = False
    try:
        check.run(database_url)
    except DatabaseError as error:
        check.skipped.append(f"the query and its rows: {error}")
        failed = True
    findings = sorted(check.findings, key=lambda each: (each.file.name != "spec.py", each.line or 0))
    return ModelCheck(
        file.parent.name,
        tuple(dict.fromkeys(findings)),
        tuple(check.skipped),
        check.cost,
        time.monotonic() - started,
        failed,
    )


class _Check:
    """One check, stage by stage; a later stage needs that the earlier ones found no error in what it reads."""

    def __init__(self, file: Path, linted: Linted, as_of: datetime, memory_mib: int, seconds: float) -> None:
        self._seconds = seconds
        self._file, self._linted, self._as_of, self._memory_mib = file, linted, as_of, memory_mib
        self._places = Places(file.parent, linted)
        self.findings: list[Finding] = list(linted.findings)
        self.skipped: list[str] = []
        self.cost: TrainingCost | None = None

    def run(self, url: str | None) -> None:
        if self._linted.errors:
            self._check_data(None, None, url)
            return
        spec = read_spec(self._file)
        with EstimatorTrial(spec, self._places) as trial:
            try:
                self._check_data(spec, trial, url)
                self.findings += trial.findings()
            except TimeLimitError as error:
                self.skipped.append(f"the estimator: {error}")
            except WorkerDiedError as error:
                sentence = f"expected an estimator that can be built and fitted; found that its process ended: {error}"
                self.findings.append(self._places.estimator(spec, "", sentence))

    def _check_data(self, spec: ModelSpec | None, trial: EstimatorTrial | None, url: str | None) -> None:
        if url is None:
            self.skipped.append("the query and its rows: there is no database")
        elif not self._linted.query_findings:
            from include.warehouse import limited

            self._check_query(spec, trial, limited(url, self._seconds))

    def _check_query(self, spec: ModelSpec | None, trial: EstimatorTrial | None, url: str) -> None:
        from include.checking.query import check_columns, check_query

        query = _text_alone(self._file) if spec is None else spec.query
        refused, types = check_query(query, self._places, url)
        self.findings += refused
        if spec is None or trial is None:
            self.skipped.append("the rows and the estimator: correct spec.py first")
            return
        if types:
            differing = check_columns(spec, query, types, self._places, types=not refused)
            self.findings += differing
            refused += differing
        if refused:
            self.skipped.append("the rows and the estimator on them: correct the query's columns first")
            return
        self._check_rows(spec, trial, query, types, url)

    def _check_rows(
        self, spec: ModelSpec, trial: EstimatorTrial, query: FeatureQuery, types: dict[str, str], url: str
    ) -> None:
        import psycopg

        from include.checking.rows import check_columns_of_rows, check_counts, check_newest_partition, failed_on_a_row
        from include.checking.sample import count_rows, sampled_query
        from include.training import split_by_time

        try:
            split = split_by_time(spec, self._as_of)
        except NotEnoughDataError as error:
            self.findings.append(self._places.field(("window",), str(error).removeprefix(f"model '{spec.name}', ")))
            return
        try:
            counts = count_rows(spec, query, split, url)
            if counts is None:
                self.skipped.append(
                    f"the numbers of rows, days and labels: counting them takes more than {self._seconds:g} s"
                )
            else:
                self.findings += check_counts(spec, query, split, counts, self._places, url)
                if not counts.rows:
                    return
            sampled = sampled_query(spec, query, split, counts)
            about_columns = list(check_columns_of_rows(spec, sampled, split, types, self._places, url))
            if counts is not None and spec.entity_key.column not in {each.feature for each in about_columns}:
                about_columns += check_newest_partition(spec, query, counts, types, self._places, url)
            self.findings += about_columns
            self._try_training(spec, trial, sampled, split, counts, url)
        except psycopg.errors.QueryCanceled:
            self.skipped.append(f"the rows: reading a sample of them takes more than {self._seconds:g} s")
        except psycopg.Error as error:
            if is_transient(error.sqlstate):
                raise DatabaseError(f"the database failed: {str(error).strip().splitlines()[0]}") from error
            self.findings += failed_on_a_row(query, split, error, self._places, url)

    def _try_training(
        self,
        spec: ModelSpec,
        trial: EstimatorTrial,
        sampled: FeatureQuery,
        split: Split,
        counts: RowCounts | None,
        url: str,
    ) -> None:
        from include.checking.sample import extrapolate_rows, read_labelled

        if any(finding.feature == spec.target.column and finding.severity == "error" for finding in self.findings):
            self.skipped.append("the training on a sample: correct the target first")
            return
        try:
            rows = read_labelled(sampled, split.whole, url)
            if trial.findings():
                return
            found, fit = trial.train(replace(sampled, text=spec.query.text), rows, split)
        except (QueryError, TimeLimitError, NotEnoughDataError) as error:
            self.skipped.append(f"the training on a sample: {error}")
            return
        known = {finding.feature for finding in self.findings}
        self.findings += (each for each in found if each.feature is None or each.feature not in known)
        if not fit.rows:
            return
        if counts is None:
            labelled = extrapolate_rows(spec.query, split, url)
        else:
            labelled = sum(sum(counts.labelled(part).values()) for part in ("train", "holdout"))
        self.cost = estimate_cost(spec, fit, labelled)
        self.findings += self._over_budget(spec, labelled)

    def _over_budget(self, spec: ModelSpec, rows: int) -> Iterator[Finding]:
        from include.training import require_budget

        try:
            require_budget(spec, rows, self._memory_mib)
        except TrainingBudgetError as error:
            sentence = f"expected a training that fits SLUICE_TRAIN_MEMORY_MIB={error.budget_mib}; found {rows:,} rows "
            sentence += f"of {len(spec.features)} features, which need about {error.wanted_mib:,} MiB"
            hint = f"Set it to {error.wanted_mib} or more if the machine has it, or shorten the window."
            yield self._places.field(("window", "train"), sentence, hint)


def _text_alone(file: Path) -> FeatureQuery:
    """Return the query of a declaration that cannot be read, as far as the database needs it."""
    text = decode_query(file.with_name("features.sql").read_bytes())
    return FeatureQuery(file.parent.name, text, EntityKey(column="key"), "time", ())
