"""A contract stops bad data: every planted fault is found, counted, and named by its keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from include.models import declared_models
from include.records import CheckResult, Period, ValidationReport
from include.spec import ModelSpec
from include.validation import store_report, validate
from include.warehouse.feature_source import PostgresFeatureSource

GOOD, NO_KEY, UNKNOWN, NEGATIVE, EMPTY, DOUBLE = (date(2013, 2, day) for day in (1, 2, 3, 4, 5, 6))


def only_failure(report: ValidationReport) -> CheckResult:
    assert len(report.failures) == 1, [check.sentence for check in report.failures]
    return report.failures[0]


def test_a_good_day_passes_and_its_page_says_so(check: Callable[..., ValidationReport], spec: ModelSpec) -> None:
    report = check(spec, GOOD)
    assert report.passed
    assert report.rows == 926
    assert report.docs_path is not None
    page = Path(report.docs_path).read_text()
    assert f"all {len(report.checks)} checks of the contract" in page
    assert page.count(">passed<") == len(report.checks)
    assert "FAILED" not in page
    assert "://" not in page, "the page must be readable, and silent, without a network"


def test_a_null_in_the_key_is_found_by_its_time(check: Callable[..., ValidationReport], spec: ModelSpec) -> None:
    failure = only_failure(check(spec, NO_KEY))
    assert failure.expectation == "expect_column_values_to_not_be_null"
    assert failure.column == "flight_key"
    assert failure.failing_count == 3
    assert all(key.startswith("(no key, at 2013-02-02") for key in failure.offending_keys)


def test_an_unknown_carrier_is_counted_and_at_most_20_keys_are_kept(
    check: Callable[..., ValidationReport], spec: ModelSpec, flights: Engine
) -> None:
    failure = only_failure(check(spec, UNKNOWN))
    assert failure.expectation == "expect_column_values_to_be_in_set"
    assert failure.column == "carrier"
    assert failure.failing_count == 25
    assert failure.observed == "ZZ (25)"
    with flights.connect() as connection:
        planted = connection.scalars(text("SELECT flight_key FROM source.flights WHERE carrier = 'ZZ'")).all()
    assert len(failure.offending_keys) == 20
    assert set(failure.offending_keys) <= set(planted)
    assert "25 of" in failure.sentence
    assert "ZZ" not in failure.sentence, "sentences end up in logs, where values of rows have no place"


def test_a_negative_distance_is_out_of_range(check: Callable[..., ValidationReport], spec: ModelSpec) -> None:
    report = check(spec, NEGATIVE)
    failure = only_failure(report)
    assert failure.expectation == "expect_column_values_to_be_between"
    assert failure.column == "distance"
    assert failure.failing_count == len(failure.offending_keys) == 2
    assert failure.sentence.startswith("column 'distance': expected a number from 1 to 6000 (miles); found 2 of")
    assert report.docs_path is not None
    page = Path(report.docs_path).read_text()
    assert "expect_column_values_to_be_between" in page
    assert failure.offending_keys[0] in page


def test_an_empty_day_has_too_few_rows(check: Callable[..., ValidationReport], spec: ModelSpec) -> None:
    report = check(spec, EMPTY)
    assert report.rows == 0
    assert only_failure(report).sentence == "table: expected 400 to 2,000 rows; found 0."


def test_a_key_that_comes_twice_is_named(check: Callable[..., ValidationReport], spec: ModelSpec) -> None:
    failure = only_failure(check(spec, DOUBLE))
    assert failure.expectation == "expect_column_values_to_be_unique"
    assert failure.failing_count == 4
    assert len(failure.offending_keys) == 2


def test_training_on_the_whole_window_finds_every_fault_at_once(
    check: Callable[..., ValidationReport], spec: ModelSpec
) -> None:
    end = datetime(2013, 11, 20, tzinfo=UTC)
    report = check(spec, Period(start=end - timedelta(days=300), end=end), "train")
    assert report.rows > 270_000
    assert {(failure.column, failure.failing_count) for failure in report.failures} == {
        ("flight_key", 3),
        ("flight_key", 4),
        ("carrier", 25),
        ("distance", 2),
    }


def test_a_window_that_ends_long_after_the_newest_row_is_stale(
    check: Callable[..., ValidationReport], spec: ModelSpec
) -> None:
    end = datetime(2014, 1, 5, tzinfo=UTC)
    report = check(spec, Period(start=end - timedelta(days=300), end=end), "train")
    failure = only_failure(report)
    assert failure.expectation == "expect_column_max_to_be_between"
    assert "expected a newest row no older than 2014-01-03 00:00 UTC" in failure.sentence


def test_a_target_outside_its_classes_stops_training_but_not_scoring(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    spec = variant("THEN 'on_time'", "THEN 'punctual'")
    assert check(spec, GOOD, "score").passed
    failed = {failure.column for failure in check(spec, GOOD, "train").failures}
    assert failed == {None, "arrival"}, "too few rows for training, and an unknown class"


def test_categories_may_hold_quotes_colons_and_per_cent_signs(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    spec = variant('("EWR", "JFK", "LGA")', '("EWR", "JFK", "LGA\'s :100%s")', file="spec.py")
    failure = only_failure(check(spec, GOOD))
    assert failure.column == "origin"
    assert failure.observed is not None
    assert failure.observed.startswith("LGA (")


def test_nothing_is_left_of_the_scratch_tables(flights: Engine, check: Callable[..., ValidationReport]) -> None:
    check(declared_models()["flight_delay"], NEGATIVE)
    with flights.connect() as connection:
        statement = "SELECT count(*) FROM pg_class WHERE relnamespace = CAST('sluice_scratch' AS regnamespace)"
        assert connection.scalar(text(statement)) == 0


def test_a_report_is_stored_check_by_check_and_again_in_its_own_place(
    flights: Engine, check: Callable[..., ValidationReport], spec: ModelSpec
) -> None:
    report = check(spec, NEGATIVE)
    store_report(flights, report)
    store_report(flights, report)
    with flights.connect() as connection:
        stored = connection.execute(text("SELECT * FROM sluice.validation_result")).mappings().all()
    assert len(stored) == len(report.checks)
    (failed,) = [row for row in stored if not row["passed"]]
    assert failed["column_name"] == "distance"
    assert failed["failing_count"] == 2
    assert tuple(failed["offending_keys"]) == report.failures[0].offending_keys
    assert failed["period_start"] == report.period.start
    assert failed["docs_path"] == report.docs_path


def test_a_database_that_does_not_answer_says_nothing_of_the_data(spec: ModelSpec, tmp_path: Path) -> None:
    nowhere = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"
    with pytest.raises(OperationalError):
        validate(
            spec,
            Period.of_day(GOOD),
            purpose="score",
            run_id="r",
            database_url=nowhere,
            materialize=PostgresFeatureSource(nowhere).materialize,
            docs_dir=tmp_path,
        )
