"""The source of a model's rows: a protocol, and its implementation for PostgreSQL.

To read from another database, write a class with the methods of `FeatureSource` and create it in
`include.resources.open_resources`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from psycopg.sql import quote
from sqlalchemy import Connection

from include.records import Period, Shard
from include.spec import ModelSpec
from include.warehouse.errors import source_errors, translated_stream
from include.warehouse.rows import bound_query, open_rows, rows_query

if TYPE_CHECKING:
    import pyarrow as pa


class FeatureSource(Protocol):
    """Runs a model's features query for a period."""

    def read(
        self,
        spec: ModelSpec,
        period: Period,
        *,
        labelled: bool,
        shard: Shard | None = None,
        keys: Sequence[str | int] | None = None,
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open the rows of `period` as a stream of record batches, every column in the type that the spec declares.

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

    def count(self, spec: ModelSpec, period: Period) -> int:
        """Return the number of rows that the query returns for `period`."""
        ...

    def materialize(self, spec: ModelSpec, period: Period, connection: Connection, table: str) -> None:
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
        spec: ModelSpec,
        period: Period,
        *,
        labelled: bool,
        shard: Shard | None = None,
        keys: Sequence[str | int] | None = None,
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `FeatureSource.read`."""
        conditions = [] if shard is None else [shard_condition(spec, shard)]
        conditions += [] if keys is None else [keys_condition(spec, keys)]
        query = rows_query(spec, period, labelled=labelled, only=" AND ".join(conditions) or None)
        return self._open(spec, period, query)

    def count(self, spec: ModelSpec, period: Period) -> int:
        """See `FeatureSource.count`."""
        query = f"SELECT count(*) AS rows FROM (\n{bound_query(spec, period)}\n) AS q"  # noqa: S608  # the model's own query
        with self._open(spec, period, query) as counted:
            return int(counted.read_all().column("rows")[0].as_py())

    @contextlib.contextmanager
    def _open(self, spec: ModelSpec, period: Period, query: str) -> Iterator[pa.RecordBatchReader]:
        what = f"model '{spec.name}', rows from {period}"
        with contextlib.ExitStack() as opened:
            with source_errors(what):
                rows = opened.enter_context(open_rows(self._url, query))
            # Only reading is translated: an OSError of the caller, such as a full disk, is not the database's.
            yield translated_stream(rows, what)

    def materialize(self, spec: ModelSpec, period: Period, connection: Connection, table: str) -> None:
        """See `FeatureSource.materialize`."""
        # Unlogged: it is not needed after a crash, and is written in half the time.
        # With no parameters, as it is read: a colon or a per cent sign of the query means nothing here.
        connection.exec_driver_sql(
            f"CREATE UNLOGGED TABLE {table} AS\n{bound_query(spec, period)}", execution_options={"no_parameters": True}
        )


def shard_condition(spec: ModelSpec, shard: Shard) -> str:
    """Return the SQL condition for the rows of `shard`.

    It is the database's own rule for hash partitions, so that a staged shard can be attached as one without moving a
    row.
    """
    key = f'"{spec.entity_key.column}"::{spec.entity_key.type}'
    return f"satisfies_hash_partition('{shard.table}'::regclass, {shard.count}, {shard.number}, {key})"


def keys_condition(spec: ModelSpec, keys: Sequence[str | int]) -> str:
    """Return the SQL condition for the rows of `keys`."""
    key = spec.entity_key
    return f'"{key.column}"::{key.type} IN ({", ".join(quote(each) for each in keys)})'
