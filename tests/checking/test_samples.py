"""The sample of a check: bounded, with every class, and read in a session that cannot write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from include.checking import ModelCheck
from include.checking.sample import MIN_GROUP_ROWS, SAMPLE_ROWS, count_rows, fetch, read_labelled, sampled_query
from include.training import split_by_time
from include.warehouse import limited
from tests.builders import QUERY, TODAY, declare_model
from tests.checking.mistakes import plant

# Thirty times the parcels; one row of 700 is late.
RARE = "CASE WHEN hashtext(parcel_id || copy) % 700 = 0 THEN 'late' ELSE 'on_time' END AS outcome"
MANY = QUERY.replace("SELECT parcel_id,", "SELECT parcel_id || '-' || copy AS parcel_id,")
MANY = MANY.replace("outcome\n", RARE + "\n")
MANY = MANY.replace("FROM source.{name}", "FROM source.{name} CROSS JOIN generate_series(1, 30) AS copy")


def test_a_sample_is_bounded_and_has_the_rare_class_in_both_parts(parcels_url: str, tmp_path: Path) -> None:
    spec = declare_model(tmp_path, query=MANY)
    split = split_by_time(spec, TODAY)
    url = limited(parcels_url, 60)
    counts = count_rows(spec, spec.query, split, url)
    assert counts is not None
    assert counts.rows == 60_000
    rows = read_labelled(sampled_query(spec, spec.query, split, counts), split.whole, url)
    assert SAMPLE_ROWS / 2 < rows.num_rows < SAMPLE_ROWS * 2
    holdout = [time >= split.holdout.start for time in rows.column("sent_at").to_pylist()]
    late = [label == "late" for label in rows.column("outcome").to_pylist()]
    for part, of_holdout in (("train", False), ("holdout", True)):
        found = sum(here == of_holdout and is_late for here, is_late in zip(holdout, late, strict=True))
        assert found >= min(MIN_GROUP_ROWS, counts.labelled(part)["late"]) / 2


def test_rows_that_cannot_be_counted_in_time_are_read_by_days(
    check: Callable[..., ModelCheck], tmp_path: Path, parcels_url: str
) -> None:
    # Each row takes two milliseconds or more: the window at least four seconds, the days that are read half a second.
    slow = QUERY.replace("weight,", "weight - 50 + length(pg_sleep(0.002)::text) * 0 AS weight,")
    folder = declare_model(tmp_path, query=slow).folder
    found = check(folder, statement_seconds=3)
    assert "the numbers of rows, days and labels" in " ".join(found.skipped)
    assert [each.feature for each in found.findings] == ["weight"]
    assert found.cost is not None
    assert found.cost.rows == 2000, "each of the days that were read has forty"


def test_a_session_of_a_check_cannot_write(parcels_url: str) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        fetch(limited(parcels_url, 60), "DELETE FROM source.parcels")
    with pytest.raises(psycopg.errors.QueryCanceled):
        fetch(limited(parcels_url, 0.1), "SELECT pg_sleep(60)")


def test_a_query_that_writes_is_a_finding(check: Callable[..., ModelCheck], tmp_path: Path) -> None:
    plant(tmp_path / "parcels")
    query = tmp_path / "parcels" / "features.sql"
    query.write_text("WITH gone AS (DELETE FROM source.parcels RETURNING 1)" + query.read_text())
    found = check(tmp_path / "parcels")
    assert found.has_errors
    assert "WITH clause containing a data-modifying statement" in found.findings[0].sentence


def test_an_empty_table_is_one_finding(check: Callable[..., ModelCheck], tmp_path: Path) -> None:
    plant(tmp_path / "parcels")
    query = tmp_path / "parcels" / "features.sql"
    query.write_text(query.read_text().replace("WHERE", "WHERE false AND"))
    (finding,) = check(tmp_path / "parcels").findings
    assert "found none at all" in finding.sentence


def test_rows_of_another_time_are_said_with_the_option_that_helps(
    check: Callable[..., ModelCheck], tmp_path: Path
) -> None:
    plant(tmp_path / "parcels")
    spec = tmp_path / "parcels" / "spec.py"
    spec.write_text(spec.read_text().replace('"outcome"', '"outcome", label_delay=timedelta(days=900)'))
    (finding,) = check(tmp_path / "parcels").findings
    assert "the newest row is of 2026-02-28" in finding.sentence
    assert "--as-of 2026-03-01" in finding.hint


def test_a_missing_right_is_answered_with_the_grant(
    check: Callable[..., ModelCheck], tmp_path: Path, new_database: Callable[[], str]
) -> None:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE source.parcels AS SELECT 1 AS parcel_id")
        connection.execute("CREATE ROLE nobody_here")
        plant(tmp_path / "parcels")
        try:
            found = check(tmp_path / "parcels", url=f"{url}?options=-crole%3Dnobody_here")
        finally:
            connection.execute("DROP ROLE nobody_here")
    (finding,) = found.findings
    assert "that the role nobody_here may read; found: permission denied for" in finding.sentence
    assert 'GRANT USAGE ON SCHEMA "source" TO "nobody_here"; ' in finding.hint


def test_a_database_that_does_not_answer_hides_no_fault_of_the_text(
    check: Callable[..., ModelCheck], tmp_path: Path
) -> None:
    plant(tmp_path / "parcels")
    spec = tmp_path / "parcels" / "spec.py"
    spec.write_text(spec.read_text().replace('owner="tests"', "owner=3"))
    found = check(tmp_path / "parcels", url="postgresql://nobody@127.0.0.1:1/none")
    assert [each.field for each in found.findings] == ["owner"]
    assert found.database_failed
    assert "was not read" in found.skipped[0] or "were not read" in found.skipped[0]


def test_values_of_any_column_can_be_checked_with_nulls_in_the_key(
    check: Callable[..., ModelCheck], tmp_path: Path
) -> None:
    plant(tmp_path / "parcels")
    query = tmp_path / "parcels" / "features.sql"
    query.write_text(query.read_text().replace("parcel_id,", "CASE WHEN weight > 1 THEN parcel_id END AS parcel_id,"))
    found = check(tmp_path / "parcels").findings
    assert any(each.feature == "parcel_id" and "expected no null" in each.sentence for each in found)


def test_a_window_that_begins_before_the_year_1_is_a_finding(check: Callable[..., ModelCheck], tmp_path: Path) -> None:
    plant(tmp_path / "parcels")
    spec = tmp_path / "parcels" / "spec.py"
    spec.write_text(
        spec.read_text()
        .replace("days=40", "days=365_000")
        .replace("days=10)", "days=365_000), gap=timedelta(days=36_500)")
    )
    (finding,) = check(tmp_path / "parcels").findings
    assert finding.field == "window"
    assert "a window that begins in the year 1 or later" in finding.sentence
