"""Errors of a read of the source, as errors that say what to do, and whether a retry can help."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from include.errors import DatabaseError, QueryError, SluiceError, is_transient

if TYPE_CHECKING:
    import pyarrow as pa

# An error in the middle of a stream has its text alone, without its SQLSTATE. ERROR ends the statement, FATAL and PANIC
# the connection. A server that writes in another language has another word for ERROR: its errors are retried.
_STATEMENT_FAILED = re.compile(r"\bERROR: ")
_TRANSIENT_TEXT = re.compile(
    r"could not serialize access|deadlock detected|canceling statement|out of (shared )?memory|No space left|"
    r"conflict with recovery|too many connections|could not (read|write|extend|open)"
)


@contextlib.contextmanager
def source_errors(what: str) -> Iterator[None]:
    """Translate the errors of ADBC and of its streams, which Arrow raises as OSError or its own, in the block.

    Parameters
    ----------
    what : str
        What is read: the subject of the message.

    Raises
    ------
    QueryError
        When the query cannot run: the same query gives the same error.
    DatabaseError
        When the database failed: a retry may succeed.
    """
    from adbc_driver_manager import Error as AdbcError
    from pyarrow import ArrowException

    try:
        yield
    except SluiceError:
        raise
    except (AdbcError, ArrowException, OSError) as error:
        raise _translated(error, what) from error


def translated_stream(rows: pa.RecordBatchReader, what: str) -> pa.RecordBatchReader:
    """Return a stream of the same batches whose errors are those of `source_errors`."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        with source_errors(what):
            yield from rows

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def _translated(error: Exception, what: str) -> DatabaseError:
    text = str(error).strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    state = getattr(error, "sqlstate", None)
    if _is_permanent(state, text):
        return QueryError(
            f"{what}: expected a query that runs to its end; the database found: {reason}. Nothing was written. "
            "Correct features.sql or the source, or grant the role the right that the message names; `sluice psql` "
            "runs a statement as Sluice does."
        )
    return DatabaseError(
        f"{what}: the database failed while the rows were read: {reason}. Nothing was written. A retry is safe, and "
        "Airflow retries automatically. If this persists, check that the database is running and read its log."
    )


def _is_permanent(sqlstate: str | None, text: str) -> bool:
    if sqlstate:
        return not is_transient(sqlstate)
    return bool(_STATEMENT_FAILED.search(text)) and not _TRANSIENT_TEXT.search(text)
