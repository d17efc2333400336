"""A contract is also about the shape of the rows: columns, types, and a query that runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from include.records import CheckResult, ValidationReport
from include.spec import ModelSpec

GOOD = date(2013, 2, 1)


def only_failure(report: ValidationReport) -> CheckResult:
    assert len(report.failures) == 1, [check.sentence for check in report.failures]
    return report.failures[0]


def test_a_column_of_the_wrong_type_is_one_failure_and_says_what_to_do(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    spec = variant("flight.distance,", "flight.distance::text AS distance,")
    failure = only_failure(check(spec, GOOD))
    assert failure.expectation == "expect_column_values_to_be_in_type_list"
    assert failure.column == "distance"
    assert failure.sentence.endswith("found text; cast it in features.sql.")


@pytest.mark.parametrize("type_", ["numeric(10,2)", "real", "bigint"])
def test_any_type_of_number_will_do(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec], type_: str
) -> None:
    spec = variant("flight.distance,", f"flight.distance::{type_} AS distance,")
    assert check(spec, GOOD).passed


def test_text_of_a_limited_length_is_text(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    assert check(variant("flight.carrier,", "flight.carrier::varchar(2) AS carrier,"), GOOD).passed


def test_a_missing_and_an_undeclared_column_are_told_by_name(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    spec = variant("plane.engine,", "plane.engines AS number_of_engines,")
    report = check(spec, GOOD)
    sentences = {failure.expectation: failure.sentence for failure in report.failures}
    assert set(sentences) == {"expect_table_columns_to_match_set", "expect_column_to_exist"}
    found = "found engine missing and number_of_engines undeclared."
    assert sentences["expect_table_columns_to_match_set"].endswith(found)
    assert "add it to features.sql or take it out of spec.py" in sentences["expect_column_to_exist"]


def test_a_query_that_does_not_run_is_a_failed_check_with_the_databases_reason(
    check: Callable[..., ValidationReport], variant: Callable[..., ModelSpec]
) -> None:
    report = check(variant("plane.engine,", "plane.motor,"), GOOD)
    failure = only_failure(report)
    assert failure.expectation == "features_query_runs"
    assert "column plane.motor does not exist" in failure.sentence
    assert report.docs_path is not None
    assert "plane.motor" in Path(report.docs_path).read_text()
