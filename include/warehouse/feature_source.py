"""The source of a model's rows: a protocol, and its implementation for PostgreSQL.

To read from another database, write a class with the methods of `FeatureSource` and create it in
`include.resources.open_resources`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import psycopg
from psycopg.sql import quote
from sqlalchemy import Connection

from include.errors import DatabaseError, SourceQueryError, is_transient
from include.records import Period, Shard
from include.sessions import SESSION_STATEMENT, libpq_url
from include.source_digest import SourceDigest, digest_query
from include.spec import FeatureQuery
from include.spec.features_query import offset_in_query
from include.warehouse.errors import source_errors, translated_stream
from include.warehouse.grants import missing_grants
from include.warehouse.rows import bound_query, open_rows, rows_query

if TYPE_CHECKING:
    import pyarrow as pa

_ANY_DAY: Final = Period.of_day(date(2000, 1, 1))
_BEFORE_QUERY: Final = "SELECT * FROM (\n"
# The names of types, of a domain that of the type beneath it; SQLAlchemy shortens two of them.
_TYPE_NAMES: Final = """
    WITH RECURSIVE found AS (
        SELECT oid AS given, oid AS type FROM unnest(%s::oid[]) AS oid
        UNION ALL
        SELECT given, typbasetype FROM found JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd'
    )
    SELECT given, CASE name WHEN 'character varying' THEN 'varchar' WHEN 'character' THEN 'char' ELSE name END
    FROM found JOIN pg_type ON pg_type.oid = type, format_type(type, NULL) AS name WHERE typtype <> 'd'
"""


class KeyComparison(NamedTuple):
    """How many entity keys two queries return, and how many of them only one of the two returns."""

    rows: int
    other_rows: int
    only: int
    only_other: int


class FeatureSource(Protocol):
    """Runs features queries: that of a declaration, or that of a version."""

    def read(
        self,
        query: FeatureQuery,
        period: Period,
        *,
        labelled: bool,
        shard: Shard | None = None,
        keys: Sequence[str | int] | None = None,
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open the rows of `period` as a stream of record batches, every column in the type that its feature has.

        All batches are of one snapshot of the database.

        Parameters
        ----------
        labelled : bool
            True: with the target, only rows whose label is known, in order of event time (to train on).
            False: without the target, in no order (to score).
        shard : Shard, optional
            Read only this shard. PostgreSQL's hash of the key determines the shard of a row.
        keys : sequence of str or int, optional
            Read only the rows of these entity keys.

        Raises
        ------
        QueryError
            When the query cannot run, at once or in the middle of the stream.
        DatabaseError
            When the database failed; a retry may succeed.
        """
        ...

    def count(self, query: FeatureQuery, period: Period) -> int:
        """Return the number of rows that the query returns for `period`."""
        ...

    def compare_keys(self, query: FeatureQuery, other: FeatureQuery, period: Period) -> KeyComparison:
        """Compare the entity keys that two queries return for `period`, as text; duplicates count once."""

    def digest(self, query: FeatureQuery, period: Period) -> SourceDigest:
        """Return the number of rows that the query returns for `period`, and their digest.

        It is that of `include.source_digest` for a table that `materialize` has written.

        Raises
        ------
        QueryError
            When the query cannot run.
        DatabaseError
            When the database failed; a retry may succeed.
        """
        ...

    def columns(self, query: FeatureQuery) -> dict[str, str]:
        """Return the names of the query's columns with their types in SQL, in their order, without reading a row.

        The types are written as SQLAlchemy writes them, in lower case, and without length or precision.

        Raises
        ------
        SourceQueryError
            When the query does not run.
        """
        ...

    def materialize(self, query: FeatureQuery, period: Period, connection: Connection, table: str) -> None:
        """Write the query's rows of `period` into the new unlogged table `table` in Sluice's database.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            To Sluice's database, in a transaction.
        table : str
            A qualified name, ready for SQL.
        """
        ...


class PostgresFeatureSource:
    """Runs the features query in Sluice's own PostgreSQL database.

    Parameters
    ----------
    url : str
        ``postgresql://...``, as libpq reads it.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def read(
        self,
        query: FeatureQuery,
        period: Period,
        *,
        labelled: bool,
        shard: Shard | None = None,
        keys: Sequence[str | int] | None = None,
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `FeatureSource.read`."""
        conditions = [] if shard is None else [shard_condition(query, shard)]
        conditions += [] if keys is None else [keys_condition(query, keys)]
        statement = rows_query(query, period, labelled=labelled, only=" AND ".join(conditions) or None)
        return self._open(query, period, statement)

    def count(self, query: FeatureQuery, period: Period) -> int:
        """See `FeatureSource.count`."""
        statement = f"SELECT count(*) AS rows FROM (\n{bound_query(query, period)}\n) AS q"  # noqa: S608  # the model's own query
        with self._open(query, period, statement) as counted:
            return int(counted.read_all().column("rows")[0].as_py())

    def compare_keys(self, query: FeatureQuery, other: FeatureQuery, period: Period) -> KeyComparison:
        """See `FeatureSource.compare_keys`."""
        first, second = (
            f'SELECT DISTINCT "{each.entity_key.column}"::text COLLATE "C" AS key '  # noqa: S608  # as above
            f"FROM (\n{bound_query(each, period)}\n) AS rows"
            for each in (query, other)
        )
        statement = (
            "SELECT count(a.key) AS rows, count(b.key) AS other_rows, "  # noqa: S608  # as above
            "count(a.key) FILTER (WHERE b.key IS NULL) AS only, "
            "count(b.key) FILTER (WHERE a.key IS NULL) AS only_other "
            f"FROM ({first}) AS a FULL JOIN ({second}) AS b ON a.key = b.key"
        )
        with self._open(query, period, statement) as counted:
            (found,) = counted.read_all().to_pylist()
        return KeyComparison(**found)

    def digest(self, query: FeatureQuery, period: Period) -> SourceDigest:
        """See `FeatureSource.digest`."""
        with self._open(query, period, digest_query(query, f"(\n{bound_query(query, period)}\n)")) as found:
            (row,) = found.read_all().to_pylist()
        return SourceDigest.of_sums(row["rows"], row["sum1"], row["sum2"])

    @contextlib.contextmanager
    def _open(self, query: FeatureQuery, period: Period, statement: str) -> Iterator[pa.RecordBatchReader]:
        what = f"model '{query.model}', rows from {period}"
        with contextlib.ExitStack() as opened:
            with missing_grants(self._url, what), source_errors(what):
                rows = opened.enter_context(open_rows(self._url, statement))
            # Only reading is translated: an OSError of the caller, such as a full disk, is not the database's.
            yield translated_stream(rows, what)

    def columns(self, query: FeatureQuery) -> dict[str, str]:
        """See `FeatureSource.columns`."""
        with missing_grants(self._url, f"features.sql of model '{query.model}'"):
            return self._columns(query)

    def _columns(self, query: FeatureQuery) -> dict[str, str]:
        # With LIMIT 0 the server plans the query, and reads nothing.
        statement = f"{_BEFORE_QUERY}{bound_query(query, _ANY_DAY)}\n) AS rows LIMIT 0"
        try:
            with psycopg.connect(libpq_url(self._url)) as connection:
                connection.execute(SESSION_STATEMENT)
                found = connection.execute(statement.encode()).description or []
                types = {column.type_code for column in found}
                names: dict[int, str] = dict(connection.execute(_TYPE_NAMES, [list(types)]).fetchall())
        except psycopg.Error as error:
            if not is_transient(error.sqlstate):
                raise SourceQueryError(query.model, _first_line(error)) from error
            raise DatabaseError(
                f"the columns of features.sql of model '{query.model}' were not read: the database failed: "
                f"{_first_line(error)}. Check that it is running, and try again."
            ) from error
        return {column.name: names[column.type_code] for column in found}

    def materialize(self, query: FeatureQuery, period: Period, connection: Connection, table: str) -> None:
        """See `FeatureSource.materialize`."""
        # Unlogged: it is not needed after a crash, and is written in half the time.
        # With no parameters, as it is read: a colon or a per cent sign of the query means nothing here.
        statement = f"CREATE UNLOGGED TABLE {table} AS\n{bound_query(query, period)}"
        with missing_grants(self._url, f"model '{query.model}', rows from {period}"):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def refused_at(query: FeatureQuery, error: SourceQueryError) -> tuple[psycopg.Error, int | None]:
    """Return why the database refused the query in `PostgresFeatureSource.columns`, and at which of its characters."""
    cause = error.__cause__
    assert isinstance(cause, psycopg.Error)  # noqa: S101  # `columns` raised it so
    position = cause.diag.statement_position
    if position is None:
        return cause, None
    offset = int(position) - 1 - len(_BEFORE_QUERY)
    return cause, offset_in_query(query.text, _ANY_DAY.start, _ANY_DAY.end, max(offset, 0))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shard_condition(query: FeatureQuery, shard: Shard) -> str:
    """Return the SQL condition for the rows of `shard`.

    It is the database's own rule for hash partitions, so that a staged shard can be attached as one without moving a
    row.
    """
    key = f'"{query.entity_key.column}"::{query.entity_key.type}'
    return f"satisfies_hash_partition('{shard.table}'::regclass, {shard.count}, {shard.number}, {key})"


def keys_condition(query: FeatureQuery, keys: Sequence[str | int]) -> str:
    """Return the SQL condition for the rows of `keys`."""
    key = query.entity_key
    return f'"{key.column}"::{key.type} IN ({", ".join(quote(each) for each in keys)})'
