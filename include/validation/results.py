"""Stores the results of validations in ``sluice.validation_result``."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, text

from include.records import ValidationReport

_PASSED = """
    SELECT DISTINCT ON (purpose) purpose, run_id, count(*) AS checks, max(checked_at) AS at
    FROM sluice.validation_result WHERE model = :model
    GROUP BY purpose, run_id, period_start HAVING bool_and(passed) ORDER BY purpose, at DESC
"""
_WHICH = "model = :model AND run_id = :run_id AND purpose = :purpose AND period_start = :start AND period_end = :end"


def store_report(engine: Engine, report: ValidationReport) -> None:
    """Store the report, one row a check; a second report of the same run and period takes the place of the first."""
    which = {
        "model": report.model,
        "run_id": report.run_id,
        "purpose": report.purpose,
        "start": report.period.start,
        "end": report.period.end,
    }
    rows = [
        which
        | {
            "expectation": check.expectation,
            "column": check.column,
            "passed": check.passed,
            "sentence": check.sentence,
            "observed": check.observed,
            "failing": check.failing_count,
            "keys": list(check.offending_keys),
            "docs": report.docs_path,
        }
        for check in report.checks
    ]
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM sluice.validation_result WHERE {_WHICH}"), which)  # noqa: S608 (constant)
        connection.execute(
            text(
                "INSERT INTO sluice.validation_result (model, run_id, purpose, period_start, period_end, expectation,"
                " column_name, passed, sentence, observed, failing_count, offending_keys, docs_path)"
                " VALUES (:model, :run_id, :purpose, :start, :end, :expectation,"
                " :column, :passed, :sentence, :observed, :failing, :keys, :docs)"
            ),
            rows,
        )


class PassedValidation(NamedTuple):
    """A validation of which every check passed."""

    run_id: str
    checks: int


def passed_validations(engine: Engine, model: str) -> dict[str, PassedValidation]:
    """Return a model's newest validation of which every check passed, by purpose."""
    with engine.connect() as connection:
        rows = connection.execute(text(_PASSED), {"model": model})
        return {row.purpose: PassedValidation(row.run_id, row.checks) for row in rows}
