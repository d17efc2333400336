"""One validation, from the query to the report."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from include.inference.feature_types.column_checks import Check
from include.records import CheckResult, Period, Purpose, ValidationReport
from include.spec import FeatureQuery, ModelSpec
from include.validation.contract import derive_checks
from include.validation.data_docs import page_path, write_page
from include.validation.expectations import ExpectationResult, run_checks
from include.validation.scratch import Materialize, Scratch, scratch_table

logger = logging.getLogger(__name__)


def validate(
    spec: ModelSpec,
    period: Period,
    *,
    purpose: Purpose,
    run_id: str,
    database_url: str,
    materialize: Materialize,
    docs_dir: Path,
    query: FeatureQuery | None = None,
) -> ValidationReport:
    """Check the data of `period` against the model's contract.

    The features query runs once, into a scratch table; Great Expectations checks that table in SQL.

    Parameters
    ----------
    purpose : {"train", "score"}
        To train, the target and the freshness are checked too, and the row bounds are those of training.
    materialize : callable
        Makes a table of the period's rows, see `include.warehouse.feature_source.FeatureSource`.
    docs_dir : Path
        Where the Data Docs page goes.
    query : FeatureQuery, optional
        The query of the version that will score the rows; by default the declared one. Its features are checked.

    Returns
    -------
    ValidationReport
        Bad data, a missing column or a query that does not run are failed checks, never an exception.

    Raises
    ------
    sqlalchemy.exc.OperationalError
        When the database does not answer: that says nothing of the data, and is worth another try.
    """
    page: str | None = None
    rows = 0
    query = query or spec.query
    try:
        with scratch_table(query, period, database_url, materialize) as scratch:
            rows = scratch.rows
            checks = derive_checks(spec, query, period, purpose, scratch.columns)
            outcomes, page = run_checks(checks, scratch, spec.name)
            results = tuple(_result(query, *pair, scratch) for pair in zip(checks, outcomes, strict=True))
    except (OperationalError, InterfaceError):
        raise
    except DBAPIError as error:
        results = (_query_failed(spec, error),)
    report = ValidationReport(model=spec.name, run_id=run_id, purpose=purpose, period=period, rows=rows, checks=results)
    path = page_path(docs_dir, report)
    report = report.model_copy(update={"docs_path": str(path)})
    write_page(path, report, page)
    logger.info(
        "Contract of %s, %s, %s rows: %d of %d checks failed.",
        spec.name, period, f"{rows:,}", len(report.failures), len(report.checks),
    )  # fmt: skip
    return report


def _result(query: FeatureQuery, check: Check, outcome: ExpectationResult, scratch: Scratch) -> CheckResult:
    subject = "table" if check.column is None else f"column '{check.column}'"
    observed = outcome.observed
    keys: tuple[str, ...] = ()
    if outcome.passed:
        sentence = f"{subject}: {check.rule}."
    else:
        sentence = f"{subject}: expected {check.rule}; found {_found(check, outcome, scratch)}."
        if check.failing is not None and check.column is not None:
            condition = check.failing.format(table=scratch.table) if "{table}" in check.failing else check.failing
            keys = scratch.offending_keys(query, condition)
            observed = scratch.common_values(check.column, condition)
    return CheckResult(
        expectation=check.expectation,
        column=check.column,
        passed=outcome.passed,
        sentence=sentence,
        observed=observed,
        failing_count=outcome.failing_count,
        offending_keys=keys,
    )


def _found(check: Check, outcome: ExpectationResult, scratch: Scratch) -> str:
    """Say what was found: counts and names, no values of rows, since sentences end up in logs."""
    if outcome.error is not None:
        return f"that it cannot be checked ({outcome.error})"
    if check.expectation == "expect_table_columns_to_match_set":
        return _difference(set(check.options["column_set"]), set(scratch.columns))
    if check.expectation == "expect_column_to_exist":
        return f"only {', '.join(scratch.columns)}; add it to features.sql or take it out of spec.py"
    if check.expectation == "expect_column_values_to_be_in_type_list":
        return f"{scratch.columns[check.column or '']}; cast it in features.sql"
    if check.failing is not None:
        return f"{outcome.failing_count:,} of {scratch.rows:,} rows otherwise"
    observed = outcome.observed or "none"
    return f"{int(observed):,}" if observed.isdigit() else observed


def _difference(declared: set[str], found: set[str]) -> str:
    missing, surplus = sorted(declared - found), sorted(found - declared)
    parts = [f"{', '.join(missing)} missing"] if missing else []
    parts += [f"{', '.join(surplus)} undeclared"] if surplus else []
    return " and ".join(parts)


def _query_failed(spec: ModelSpec, error: DBAPIError) -> CheckResult:
    reason = str(error.orig).strip().splitlines()[0]
    return CheckResult(
        expectation="features_query_runs",
        column=None,
        passed=False,
        sentence=(
            f"features.sql of '{spec.name}': expected a query that runs; found: {reason}. "
            f"Compare it with the columns of {spec.source}."
        ),
    )
