"""An error while rows are read says whether the query is at fault, or the database failed and a retry may succeed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from include.errors import DatabaseError, QueryError, is_transient
from include.records import Period
from include.spec import ModelSpec
from include.warehouse.feature_source import PostgresFeatureSource
from tests.builders import DAYS, ROWS_A_DAY, TODAY, declare_model, load_parcels

WHOLE = Period(start=TODAY.replace(year=2025), end=TODAY)
# Enough rows that the error comes in the middle of the stream, after batches that were read.
MANY = """
SELECT n::text AS parcel_id, :period_start + n * interval '1 second' AS sent_at, {weight} AS weight, 1.0 AS distance,
       'ant' AS carrier, true AS fragile, 'late' AS outcome
FROM generate_series(1, 400000) AS n
WHERE :period_end IS NOT NULL
"""


@pytest.fixture
def source(database_url: str, engine: Engine) -> PostgresFeatureSource:
    load_parcels(engine)
    return PostgresFeatureSource(database_url)


def read(source: PostgresFeatureSource, spec: ModelSpec) -> int:
    with source.read(spec.query, WHOLE, labelled=False) as rows:
        return sum(batch.num_rows for batch in rows)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (MANY.format(weight="1 / (300000 - n)"), "division by zero"),
        (MANY.format(weight="CASE WHEN n = 300000 THEN 'x' ELSE '1' END::float8"), "invalid input syntax"),
        (MANY.format(weight="weightless"), 'column "weightless" does not exist'),
        ("SELECT :period_start, :period_end FROM nowhere", "does not exist"),
    ],
    ids=["division in the stream", "cast in the stream", "column", "nothing"],
)
def test_a_query_at_fault_is_not_retried(
    source: PostgresFeatureSource, tmp_path: Path, query: str, reason: str
) -> None:
    spec = declare_model(tmp_path, query=query)
    with pytest.raises(QueryError, match=reason) as caught:
        read(source, spec)
    assert str(caught.value).startswith("model 'parcels', rows from 2025-03-01 12:00 to 2026-03-01 12:00 UTC: expected")
    assert "Correct features.sql" in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize("row", [1, 300_000], ids=["at the start", "in the stream"])
def test_a_lost_connection_is_worth_a_retry(source: PostgresFeatureSource, tmp_path: Path, row: int) -> None:
    killed = f"CASE WHEN n = {row} AND pg_terminate_backend(pg_backend_pid()) THEN 1.0 ELSE 2.0 END"
    spec = declare_model(tmp_path, query=MANY.format(weight=killed))
    with pytest.raises(DatabaseError, match="terminating connection") as caught:
        read(source, spec)
    assert type(caught.value) is DatabaseError
    assert caught.value.retryable


def test_a_database_that_does_not_answer_is_worth_a_retry(tmp_path: Path) -> None:
    spec = declare_model(tmp_path)
    nowhere = PostgresFeatureSource("postgresql://nobody@127.0.0.1:1/nothing")
    for work in (lambda: read(nowhere, spec), lambda: nowhere.count(spec.query, WHOLE)):
        with pytest.raises(DatabaseError, match="check that the database is running") as caught:
            work()
        assert caught.value.retryable


def test_an_error_of_the_reader_of_the_rows_stays_its_own(source: PostgresFeatureSource, tmp_path: Path) -> None:
    spec = declare_model(tmp_path)

    def work() -> None:
        with source.read(spec.query, WHOLE, labelled=True) as rows:
            assert rows.read_next_batch().num_rows > 0
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        work()


def test_the_rows_are_those_of_the_query(source: PostgresFeatureSource, tmp_path: Path) -> None:
    assert read(source, declare_model(tmp_path)) == DAYS * ROWS_A_DAY


@pytest.mark.parametrize(
    ("sqlstate", "transient"),
    [
        (None, True),  # no answer at all
        ("08006", True),  # the connection failed
        ("40001", True),  # a serialization failure
        ("40P01", True),  # a deadlock
        ("53300", True),  # too many connections
        ("55P03", True),  # a lock
        ("57014", True),  # cancelled by a person or a limit
        ("57P01", True),  # shut down
        ("22012", False),  # a division by zero
        ("42703", False),  # an unknown column
        ("42501", False),  # no right to read it
        ("22P02", False),  # a text that is no number
    ],
)
def test_a_retry_mends_what_the_next_try_may_not_meet(sqlstate: str | None, transient: bool) -> None:
    assert is_transient(sqlstate) is transient
