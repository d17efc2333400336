"""Errors of the database, translated to errors with a next step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from include.errors import DELETED_VERSION, DatabaseError, QueryError, ReconciliationError, SluiceError, is_transient


def translate_error(error: BaseException, what: str) -> SluiceError:
    """Return the error to raise when `what` failed.

    Parameters
    ----------
    error : psycopg.Error, sqlalchemy.exc.SQLAlchemyError or an error of ADBC
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(cause).strip().splitlines()
    first = lines[0] if lines else type(cause).__name__
    if isinstance(cause, psycopg.errors.UniqueViolation):
        return ReconciliationError(
            f"{what}: expected every key once; found one twice. Nothing was published; the former rows stay. "
            "Correct the source or features.sql (a join that doubles rows?) and run again."
        )
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return QueryError(
            f"{what}: expected a role that may write schemas scores, staging and sluice; found: {first}. "
            "Grant it what the role that ran the migrations has, or use that role in SLUICE_DATABASE_URL."
        )
    state = getattr(cause, "sqlstate", None)
    if state == DELETED_VERSION:
        return QueryError(
            f"{what}: expected a version of the present model; found: {first}. Nothing was published. Declare the "
            "model and train it again, or stop the run."
        )
    if not is_transient(state):
        return QueryError(
            f"{what}: expected a statement that the database can run; it found: {first} (SQLSTATE {state}). The "
            "published rows are as they were, and a retry gives the same error. Correct features.sql or the source; if "
            "a table of Sluice is missing, run `sluice migrate`."
        )
    return DatabaseError(
        f"{what}: the database failed: {first}. The published rows are as they were. A retry is safe, and "
        "Airflow retries automatically. If this persists, check that the database is running and read its log."
    )


@contextlib.contextmanager
def database_errors(what: str, *, reading: bool = False) -> Iterator[None]:
    """Translate the errors of psycopg, SQLAlchemy and ADBC in the block.

    Parameters
    ----------
    reading : bool
        Whether the block reads a stream of ADBC, whose errors Arrow raises as OSError or its own.
    """
    from adbc_driver_manager import Error as AdbcError
    from pyarrow import ArrowException

    foreign: tuple[type[Exception], ...] = (psycopg.Error, SQLAlchemyError, AdbcError)
    if reading:
        foreign = (*foreign, OSError, ArrowException)
    try:
        yield
    except foreign as error:
        raise translate_error(error, what) from error
    except (DatabaseError, QueryError) as error:
        if not reading:
            raise
        # Of the feature source, which does not know what its rows are for.
        raise type(error)(f"{what}: {error} The published rows are as they were.") from error
