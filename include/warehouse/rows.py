"""Reading rows from PostgreSQL as Arrow record batches: the memory depends on the batch, not on the result.

ADBC reads a result by COPY in batches; docs/performance.md compares it with the alternatives.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from include.records import Period
from include.sessions import SESSION_STATEMENT, libpq_url
from include.spec import FeatureQuery
from include.spec.features_query import bind_period

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import AdbcDatabase

BATCH_BYTES = 3 * 1024 * 1024


def bound_query(query: FeatureQuery, period: Period) -> str:
    """Return the statement of a ``features.sql`` with the period bound."""
    return bind_period(query.text, period.start, period.end)


def rows_query(query: FeatureQuery, period: Period, *, labelled: bool, only: str | None = None) -> str:
    """Return the statement for a query's rows of a period, every column in the type that Sluice works with.

    Parameters
    ----------
    labelled : bool
        True: with the target, only rows whose label is known, in order of event time (to train on).
        False: without the target, in no order (to score).
    only : str, optional
        A condition in SQL, to score a part of the rows.
    """
    key, target = query.entity_key, query.target
    columns = [
        f'"{key.column}"::{key.type} AS "{key.column}"',
        f'"{query.event_time}"::timestamptz AS "{query.event_time}"',
    ]
    columns += [f'"{f.name}"::{f.sql_type} AS "{f.name}"' for f in query.features]
    by_key = f'"{key.column}"' + (' COLLATE "C"' if key.type == "text" else "")
    if labelled:
        assert target is not None  # noqa: S101  # the query of a declaration has one
        label = f'"{target.column}"'
        columns.append(f"{label}::{'text' if target.classes else 'double precision'} AS {label}")
        tail = f'WHERE {label} IS NOT NULL ORDER BY "{query.event_time}", {by_key}'
    else:
        tail = f"WHERE {only}" if only else ""  # unordered: sorting millions of rows costs as much as scoring them
    # Every name is an identifier that ModelSpec has checked.
    return f"SELECT {', '.join(columns)} FROM (\n{bound_query(query, period)}\n) AS rows {tail}"  # noqa: S608


@contextlib.contextmanager
def open_rows(url: str, query: str) -> Iterator[pa.RecordBatchReader]:
    """Run `query` and yield its rows as a stream of record batches, all of one database snapshot."""
    # ADBC and pyarrow are imported here, since the service imports this package and needs neither. ADBC's dbapi is not
    # used: it imports pandas, which needs 60 MiB.
    import pyarrow as pa
    from adbc_driver_manager import AdbcConnection, AdbcStatement

    with (
        AdbcConnection(_database(libpq_url(url))) as connection,
        AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query(SESSION_STATEMENT)
        statement.execute_update()
        statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(stream) as rows:
            yield rows


@functools.lru_cache(maxsize=8)
def _database(url: str) -> AdbcDatabase:
    """Return the database, from which connections are made; it holds none itself.

    To make it, ADBC reads all types of the server, which takes as long as reading some ten thousand rows. Types that
    are created later do not matter, because each column of `rows_query` is cast to a type that PostgreSQL has.
    """
    import adbc_driver_postgresql

    database: AdbcDatabase = adbc_driver_postgresql.connect(url)
    return database
