"""What validations found, kept in ``sluice.validation_result`` for whoever asks later."""

from __future__ import annotations

from sqlalchemy import Engine, text

from include.records import ValidationReport

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
