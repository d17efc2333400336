"""An error of the database while a partition is scored: what happened, what to do, and whether a retry can help."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.errors import DatabaseError, QueryError, ReconciliationError, SluiceError
from include.scoring.errors import database_errors


def translated(engine: Engine, statement: str) -> SluiceError:
    with (
        pytest.raises(SluiceError) as caught,
        database_errors("partition x"),
        engine.begin() as connection,
    ):
        connection.execute(text(statement))
    return caught.value


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT 1 / 0", "division by zero (SQLSTATE 22012)"),
        ("SELECT nothing", 'column "nothing" does not exist (SQLSTATE 42703)'),
        ("SELECT * FROM scores.nowhere", 'relation "scores.nowhere" does not exist (SQLSTATE 42P01)'),
        ("SELECT 'x'::float8", 'invalid input syntax for type double precision: "x" (SQLSTATE 22P02)'),
    ],
)
def test_a_statement_that_cannot_run_is_not_retried(engine: Engine, statement: str, reason: str) -> None:
    error = translated(engine, statement)
    assert type(error) is QueryError
    assert not error.retryable
    assert reason in str(error)
    assert "Correct features.sql or the source" in str(error)


@pytest.mark.parametrize(
    "statement",
    ["SELECT pg_terminate_backend(pg_backend_pid())", "SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)"],
)
def test_what_the_next_try_may_not_meet_is_retried(engine: Engine, statement: str) -> None:
    error = translated(engine, statement)
    assert type(error) is DatabaseError
    assert error.retryable
    assert "A retry is safe" in str(error)


def test_a_key_that_occurs_twice_is_named(engine: Engine) -> None:
    error = translated(engine, "CREATE TABLE source.k (id int PRIMARY KEY); INSERT INTO source.k VALUES (1), (1)")
    assert isinstance(error, ReconciliationError)


def test_a_missing_right_is_granted_by_a_person() -> None:
    denied = DBAPIError("SELECT", {}, psycopg.errors.InsufficientPrivilege("permission denied for schema scores"))
    with (
        pytest.raises(QueryError, match="Grant it what the role that ran the migrations has") as caught,
        database_errors("partition x"),
    ):
        raise denied
    assert not caught.value.retryable
