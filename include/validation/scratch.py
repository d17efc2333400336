"""The rows of a period as a table for the length of a validation, so that the features query runs once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text

from include.records import Period
from include.sessions import prepare_sessions, session_options
from include.source_digest import SourceDigest, digest_query
from include.spec import FeatureQuery

Materialize = Callable[[FeatureQuery, Period, Connection, str], None]
"""Makes a table, named ready for SQL, of the rows that the features query gives for a period."""

SCHEMA = "sluice_scratch"
MOST_KEYS = 20
COUNTS_A_QUERY = 400  # PostgreSQL allows 1,664 columns
_SCHEMA_LOCK = 7_305_318_276
_ABANDONED = "1 day"


@dataclass(frozen=True, slots=True)
class Scratch:
    """The table, and what a contract asks of it beyond what Great Expectations answers.

    Attributes
    ----------
    columns : dict of str to str
        The columns' types, of a domain that beneath it, without length, precision and collation.
    """

    engine: Engine
    name: str
    columns: dict[str, str]
    rows: int

    @property
    def view(self) -> str:
        """The name of the view of `show`."""
        return f"{self.name}_v"

    def show(self, columns: Sequence[str]) -> None:
        """Make a view of the table with these expressions as its columns."""
        statement = f'CREATE VIEW {SCHEMA}."{self.view}" AS SELECT {", ".join(columns)} FROM {self.table}'  # noqa: S608
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def count_failing(self, conditions: Sequence[str]) -> list[int]:
        """Return for each condition the number of rows for which it holds."""
        counts: list[int] = []
        for first in range(0, len(conditions), COUNTS_A_QUERY):
            some = conditions[first : first + COUNTS_A_QUERY]
            columns = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in some)
            counts += self._rows(f"SELECT {columns} FROM {self.table}")[0]  # noqa: S608  # conditions of the contract
        return counts

    def frequent_values(self, column: str, condition: str, limit: int) -> list[tuple[str | None, int]]:
        """Return the most frequent values of `column` as text where `condition` holds, each with its count."""
        statement = (
            f'SELECT "{column}"::text AS value, count(*) AS rows FROM {self.table} '  # noqa: S608 (checked identifiers)
            f"WHERE {condition} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {limit}"
        )
        return [(value, rows) for value, rows in self._rows(statement)]

    def digest(self, query: FeatureQuery) -> str:
        """Return the digest of the rows; their columns have the types that the contract demands."""
        ((rows, first, second),) = self._rows(digest_query(query, self.table))
        return SourceDigest.of_sums(rows, first, second).digest

    @property
    def table(self) -> str:
        """The table's name, ready for SQL."""
        return f'{SCHEMA}."{self.name}"'

    def offending_keys(self, query: FeatureQuery, condition: str) -> tuple[str, ...]:
        """Return up to 20 keys of the rows for which `condition` holds."""
        key = query.entity_key.column
        shown = f'"{key}"::text COLLATE "C"' if key in self.columns else "NULL::text"
        if query.event_time in self.columns:
            # A row whose key is null is still found by its time.
            shown = f"coalesce({shown}, '(no key, at ' || \"{query.event_time}\"::text || ')')"
        statement = f"SELECT DISTINCT {shown} AS key FROM {self.table} WHERE {condition} ORDER BY 1 LIMIT {MOST_KEYS}"  # noqa: S608
        return tuple(key or "(no key)" for (key,) in self._rows(statement))

    def common_values(self, column: str, condition: str) -> str:
        """Return the five most frequent values of `column` where `condition` holds, with their counts."""
        found = self.frequent_values(column, condition, 5)
        return ", ".join(f"{'null' if value is None else value} ({rows:,})" for value, rows in found)

    def _rows(self, statement: str) -> Sequence[Any]:
        # As it is, with no parameters: a category may hold a colon or a per cent sign.
        with self.engine.connect().execution_options(no_parameters=True) as connection:
            return connection.exec_driver_sql(statement).all()


@contextmanager
def scratch_table(
    query: FeatureQuery, period: Period, database_url: str, materialize: Materialize
) -> Iterator[Scratch]:
    """Run the features query into a table, and drop the table in the end.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        When the query does not run, or the database does not answer.
    """
    address = make_url(database_url).set(drivername="postgresql+psycopg")
    engine = prepare_sessions(create_engine(address, connect_args=session_of(address)))
    name = f"{query.model}_{uuid.uuid4().hex[:12]}"
    try:
        _drop_abandoned(engine)
        with engine.begin() as connection:
            materialize(query, period, connection, f'{SCHEMA}."{name}"')
            connection.execute(text(f"COMMENT ON TABLE {SCHEMA}.\"{name}\" IS '{_now(connection)}'"))
            count = connection.scalar(text(f'SELECT count(*) FROM {SCHEMA}."{name}"'))  # noqa: S608 (own name)
            columns = _columns(connection, name)
        yield Scratch(engine, name, columns, int(count or 0))
    finally:
        try:
            with engine.begin() as connection:
                connection.execute(text(f'DROP TABLE IF EXISTS {SCHEMA}."{name}" CASCADE'))
        finally:
            engine.dispose()


def session_of(address: URL, server: int = 0) -> dict[str, str]:
    """Return the arguments of a validation's connections, to a server of this major version."""
    return {
        # Compiling hundreds of conditions that run once takes longer than running them.
        "options": session_options(address, "-c jit=off", server=server),
        "client_encoding": "utf8",
        "application_name": "sluice validation",
    }


def _drop_abandoned(engine: Engine) -> None:
    """Drop what runs of this login that were killed a day ago left in the schema."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
        abandoned = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = CAST(:schema AS regnamespace)"
                " AND pg_has_role(relowner, 'USAGE')"
                " AND obj_description(oid, 'pg_class')::timestamptz < now() - CAST(:age AS interval)"
            ),
            {"schema": SCHEMA, "age": _ABANDONED},
        ).all()
        for name in abandoned:
            connection.execute(text(f'DROP TABLE IF EXISTS {SCHEMA}."{name}" CASCADE'))


def _now(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT now()::text")))


_COLUMNS = """
    WITH RECURSIVE found AS (
        SELECT attnum, attname, atttypid AS type FROM pg_attribute
        WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT attnum, attname, typbasetype FROM found JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd'
    )
    SELECT attname, CASE WHEN typtype = 'e' THEN 'enum ' ELSE '' END || format_type(type, NULL)
    FROM found JOIN pg_type ON pg_type.oid = type WHERE typtype <> 'd' ORDER BY attnum
"""
_SHORT = {"character varying": "varchar", "character": "char", "bpchar": "char"}


def _columns(connection: Connection, name: str) -> dict[str, str]:
    """Return names and types, from the catalogue: SQLAlchemy does not know every type, and a collation is none."""
    rows = connection.execute(text(_COLUMNS), {"table": f'{SCHEMA}."{name}"'})
    return {column: _SHORT.get(type_name, type_name) for column, type_name in rows}
