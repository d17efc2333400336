"""One validation, from the query to the report."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from include.inference.feature_types.column_checks import Check
from include.records import CheckResult, Period, Purpose, UnknownCategories, ValidationReport
from include.spec import FeatureQuery, ModelSpec
from include.validation.contract import derive_checks, shown_columns
from include.validation.data_docs import page_path, write_page
from include.validation.expectations import ExpectationResult, run_checks
from include.validation.scratch import Materialize, Scratch, scratch_table
from include.validation.unknown_categories import find_unknown

MAX_EXPECTATIONS = 60

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

    The features query runs once, into a scratch table. A few queries of our own count the rows that break each rule;
    Great Expectations checks the same table in SQL. It takes some 20 ms a check, so of a wide table it gets the checks
    of the table, its key and times, those that fail, and as many others as `MAX_EXPECTATIONS` leaves room for. A check
    passes when nobody found a row that breaks it.

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
    detailed: dict[int, Check] = {}
    rows = 0
    digest: str | None = None
    unknown: tuple[UnknownCategories, ...] = ()
    query = query or spec.query
    try:
        with scratch_table(query, period, database_url, materialize) as scratch:
            rows = scratch.rows
            checks = derive_checks(spec, query, period, purpose, scratch.columns)
            counts = _counts(checks, scratch)
            detailed = _chosen(checks, counts)
            scratch.show(shown_columns(query, detailed.values(), scratch.columns))
            expectations = run_checks(detailed, scratch, spec.name)
            outcomes = (_outcome(*each, counts, expectations) for each in enumerate(checks))
            results = tuple(_result(query, *pair, scratch) for pair in zip(checks, outcomes, strict=True))
            if purpose == "score" and all(result.passed for result in results):
                digest, unknown = scratch.digest(query), find_unknown(query, scratch)
    except (OperationalError, InterfaceError):
        raise
    except DBAPIError as error:
        results = (_query_failed(spec, error),)
    report = ValidationReport(
        model=spec.name,
        run_id=run_id,
        purpose=purpose,
        period=period,
        rows=rows,
        checks=results,
        source_digest=digest,
        unknown_categories=unknown,
    )
    path = page_path(docs_dir, report)
    report = report.model_copy(update={"docs_path": str(path)})
    write_page(path, report, detailed)
    logger.info(
        "Contract of %s, %s, %s rows: %d of %d checks failed.",
        spec.name, period, f"{rows:,}", len(report.failures), len(report.checks),
    )  # fmt: skip
    return report


def find_broken_rules(
    spec: ModelSpec,
    period: Period,
    *,
    database_url: str,
    materialize: Materialize,
    query: FeatureQuery,
) -> tuple[str, ...]:
    """Return the rules of the contract that the rows of a partition break at this moment, a sentence each.

    The checks are those of `validate`, to score, and are counted by our own queries alone: Great Expectations is not
    loaded, no page is written and nothing is stored. So it costs one run of the features query, and can be repeated.

    Raises
    ------
    sqlalchemy.exc.OperationalError
        When the database does not answer.
    """
    try:
        with scratch_table(query, period, database_url, materialize) as scratch:
            checks = derive_checks(spec, query, period, "score", scratch.columns)
            counts = _counts(checks, scratch)
            outcomes = [_counted(*each, counts, scratch) for each in enumerate(checks)]
    except (OperationalError, InterfaceError):
        raise
    except DBAPIError as error:
        return (_query_failed(spec, error).sentence,)
    broken = ((check, outcome) for check, outcome in zip(checks, outcomes, strict=True) if not outcome.passed)
    return tuple(_broken_sentence(check, outcome, scratch) for check, outcome in broken)


def _counted(number: int, check: Check, counts: Mapping[int, int], scratch: Scratch) -> ExpectationResult:
    """Return the result of a check of a partition without Great Expectations."""
    if check.known is not None or number in counts:
        return _outcome(number, check, counts, {})
    if check.expectation == "expect_table_columns_to_match_set":
        return ExpectationResult(set(check.options["column_set"]) == set(scratch.columns))
    if check.expectation == "expect_table_row_count_to_be_between":
        inside = check.options["min_value"] <= scratch.rows <= check.options["max_value"]
        return ExpectationResult(inside, observed=str(scratch.rows))
    raise NotImplementedError(f"{check.expectation} of a partition is neither counted nor compared")


def _counts(checks: Sequence[Check], scratch: Scratch) -> dict[int, int]:
    """Return the number of rows that break a rule, of each check of rows."""
    conditions = {number: _condition(check, scratch) for number, check in enumerate(checks)}
    asked = {number: condition for number, condition in conditions.items() if condition is not None}
    return dict(zip(asked, scratch.count_failing(list(asked.values())), strict=True))


def _condition(check: Check, scratch: Scratch) -> str | None:
    """Return the SQL condition of the rows that break the rule. Not by format(): a category may hold braces."""
    return None if check.failing is None else check.failing.replace("{table}", scratch.table)


def _chosen(checks: Sequence[Check], counts: Mapping[int, int]) -> dict[int, Check]:
    """Return the checks that Great Expectations makes, by number: first those not counted, then those that fail."""
    open_checks = [number for number, check in enumerate(checks) if check.known is None]
    by_need = sorted(open_checks, key=lambda number: (number in counts) + (counts.get(number) == 0))
    return {number: checks[number] for number in sorted(by_need[:MAX_EXPECTATIONS])}


def _outcome(
    number: int, check: Check, counts: Mapping[int, int], expectations: Mapping[int, ExpectationResult]
) -> ExpectationResult:
    if check.known is not None:
        return ExpectationResult(check.known)
    failing = counts.get(number, 0)
    found = expectations.get(number, ExpectationResult(passed=True))
    return dataclasses.replace(
        found, passed=found.passed and not failing, failing_count=max(failing, found.failing_count)
    )


def _result(query: FeatureQuery, check: Check, outcome: ExpectationResult, scratch: Scratch) -> CheckResult:
    observed = outcome.observed
    keys: tuple[str, ...] = ()
    if outcome.passed:
        sentence = f"{_subject(check)}: {check.rule}."
    else:
        sentence = _broken_sentence(check, outcome, scratch)
        condition = _condition(check, scratch)
        if condition is not None and check.column is not None:
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


def _broken_sentence(check: Check, outcome: ExpectationResult, scratch: Scratch) -> str:
    return f"{_subject(check)}: expected {check.rule}; found {_found(check, outcome, scratch)}."


def _subject(check: Check) -> str:
    return "table" if check.column is None else f"column '{check.column}'"


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
