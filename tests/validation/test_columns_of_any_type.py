"""A column of any type PostgreSQL has breaks no other check than its own; a wide table is checked within seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine

from include.records import Period, Purpose, ValidationReport
from include.spec import ModelSpec
from include.validation import validate
from include.validation.run import MAX_EXPECTATIONS
from include.warehouse.feature_source import PostgresFeatureSource
from tests.builders import QUERY, ROWS_A_DAY, SPEC, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))

Check = Callable[..., ValidationReport]


@pytest.fixture
def check(database_url: str, tmp_path: Path, engine: Engine) -> Check:
    load_parcels(engine)

    def run(spec: ModelSpec, purpose: Purpose = "score") -> ValidationReport:
        return validate(
            spec,
            DAY,
            purpose=purpose,
            run_id="run",
            database_url=database_url,
            materialize=PostgresFeatureSource(database_url).materialize,
            docs_dir=tmp_path / "docs",
        )

    return run


@pytest.fixture
def declare(tmp_path: Path, engine: Engine) -> Callable[..., ModelSpec]:
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE DOMAIN public.name_of_carrier AS varchar(9) COLLATE "C"')
        connection.exec_driver_sql("CREATE DOMAIN public.named AS public.name_of_carrier CHECK (value <> 'x')")
        connection.exec_driver_sql("CREATE TYPE public.carriers AS ENUM ('ant', 'bee', 'cat')")

    def make(column: str, expression: str) -> ModelSpec:
        return declare_model(tmp_path / "models", query=QUERY.replace(f"{column},", f"{expression} AS {column},"))

    return make


@pytest.mark.parametrize(
    "expression",
    [
        'carrier COLLATE "C"', "carrier::bpchar", "carrier::char(5)", "carrier::varchar(3)", "carrier::public.named",
    ],
)  # fmt: skip
def test_text_of_any_collation_length_or_domain_is_text(
    check: Check, declare: Callable[..., ModelSpec], expression: str
) -> None:
    report = check(declare("carrier", expression))
    assert report.failures == ()
    assert report.rows == ROWS_A_DAY


@pytest.mark.parametrize("expression", ['parcel_id COLLATE "C"', "parcel_id::bpchar"])
def test_a_key_may_be_any_text(check: Check, declare: Callable[..., ModelSpec], expression: str) -> None:
    assert check(declare("parcel_id", expression)).failures == ()


@pytest.mark.parametrize(
    ("column", "expression", "found"),
    [
        ("weight", "point(1, 2)", "point"),
        ("weight", "'{1,2}'::int[]", "integer[]"),
        ("weight", "weight::text", "text"),
        ("weight", "'5'::money", "money"),
        ("carrier", "carrier::public.carriers", "enum carriers"),
        ("carrier", "'{}'::jsonb", "jsonb"),
        ("carrier", "ARRAY['a']", "text[]"),
        ("carrier", "int4range(1, 2)", "int4range"),
        ("carrier", "'1.2.3.4'::inet", "inet"),
        ("fragile", "fragile::int", "integer"),
        ("parcel_id", "point(1, 2)", "point"),
        ("sent_at", "sent_at::date", "date"),
        ("sent_at", "ARRAY[1]", "integer[]"),
    ],
)
def test_a_column_of_another_type_breaks_its_own_check_only(
    check: Check, declare: Callable[..., ModelSpec], column: str, expression: str, found: str
) -> None:
    report = check(declare(column, expression))
    (failure,) = report.failures
    assert (failure.expectation, failure.column) == ("expect_column_values_to_be_in_type_list", column)
    assert failure.sentence.endswith(f"; found {found}; cast it in features.sql.")


def test_an_undeclared_column_of_any_name_and_type_is_named(check: Check, declare: Callable[..., ModelSpec]) -> None:
    spec = declare("weight", """point(1, 2) AS "a ""b"" %s :c", 1 AS "x.y", weight""")
    (failure,) = check(spec).failures
    assert failure.sentence.endswith('found a "b" %s :c, x.y undeclared.')
    assert failure.expectation == "expect_table_columns_to_match_set"


def test_broken_rows_and_a_broken_type_are_found_together(check: Check, tmp_path: Path) -> None:
    query = QUERY.replace("weight,", "-1 - weight AS weight,").replace("carrier,", "point(1, 2) AS carrier,")
    failures = check(declare_model(tmp_path / "models", query=query)).failures
    assert [(each.column, each.failing_count) for each in failures] == [("carrier", 0), ("weight", ROWS_A_DAY)]


def wide(folder: Path, features: int) -> ModelSpec:
    first, last = SPEC.index("    features=("), SPEC.index("    target=")
    many = f'    features=tuple(Numeric(name=f"f{{i}}", unit="1", minimum=0, maximum=1) for i in range({features})),\n'
    values = ", ".join(f"{'2' if i in (7, features - 1) else '0.5'}::real AS f{i}" for i in range(features))
    query = QUERY.replace("weight, distance, carrier, fragile, outcome", f"{values}, outcome")
    return declare_model(folder, spec=SPEC[:first] + many + SPEC[last:], query=query)


def test_a_table_of_850_features_is_checked_with_no_error_in_the_log(
    check: Check, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = wide(tmp_path / "models", 850)
    with caplog.at_level(logging.WARNING):
        report = check(spec)
    ours = [each for each in caplog.records if not each.name.startswith("model_service")]  # a thread of another test
    assert ours == []
    assert [(failure.column, failure.failing_count) for failure in report.failures] == [
        ("f7", ROWS_A_DAY), ("f849", ROWS_A_DAY),
    ]  # fmt: skip
    assert len(report.checks) > 3 * 850
    assert report.docs_path is not None
    page = Path(report.docs_path).read_text()
    assert page.count("SQL and Great Expectations</td>") == MAX_EXPECTATIONS
    assert "f849" in page


def test_great_expectations_repeats_every_check_of_a_narrow_table_and_the_page_has_all(
    check: Check, declare: Callable[..., ModelSpec]
) -> None:
    report = check(declare("weight", "weight"))
    page = Path(report.docs_path or "").read_text()
    of_types = [each for each in report.checks if each.expectation == "expect_column_values_to_be_in_type_list"]
    assert len(report.checks) - len(of_types) < MAX_EXPECTATIONS
    assert page.count("SQL and Great Expectations</td>") == len(report.checks) - len(of_types)
    assert page.count("<code>expect_column_values_to_be_in_type_list") == len(of_types)


def test_to_train_an_entity_may_occur_on_many_days_but_once_at_a_time(
    check: Check, tmp_path: Path, declare: Callable[..., ModelSpec]
) -> None:
    spec = declare("parcel_id", "right(parcel_id, 1)")
    assert "expect_compound_columns_to_be_unique" not in {each.expectation for each in check(spec, "train").failures}
    (failure,) = check(spec, "score").failures
    assert failure.sentence.startswith("column 'parcel_id': expected each key once; found")
    query = QUERY.replace("parcel_id, sent_at,", "'one' AS parcel_id, date_trunc('hour', sent_at) AS sent_at,")
    failures = check(declare_model(tmp_path / "models", query=query), "train").failures
    (failure,) = [each for each in failures if each.column == "parcel_id"]
    assert failure.expectation == "expect_compound_columns_to_be_unique"
    assert failure.sentence.startswith("column 'parcel_id': expected each key once at the same sent_at; found")
    assert failure.offending_keys == ("one",)
