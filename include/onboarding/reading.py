"""What is read of a table: its columns, exact statistics of them, and how its rows lie in time.

All statements of a profile see one snapshot of the database. Every name is quoted by PostgreSQL itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from include.errors import SourceTableError
from include.onboarding.records import ColumnProfile, Density, PartCounts, Roles, TableProfile, Window
from include.spec import Feature

MAX_COLUMNS = 1000
MAX_VALUES = 100
MAX_WINDOW_ROWS = 500_000
HOLDOUT_SHARE = 0.2
_FEW_HOLDOUT_ROWS = 12
NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")
TEXTS = ("text", "character varying", "character", "enum", "citext", "uuid")
TIMES = ("timestamp with time zone", "timestamp without time zone", "date")
_GROUPED = (*NUMBERS, *TEXTS, *TIMES, "boolean")
# Numbers that single precision holds, neither as infinity nor as zero; a cast of others fails.
_SMALLEST, _LARGEST = "1e-37", "3.4e38"
_QUALIFIED = re.compile(r'(?:"((?:[^"]|"")+)"|([^".]+))\.(?:"((?:[^"]|"")+)"|([^"]+))')
_TEXT_TIME = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?$"

_RELATION = """
    SELECT c.oid, c.relkind::text AS kind, n.nspname AS schema, c.relname AS name,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS quoted,
           has_table_privilege(c.oid, 'SELECT') AS readable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_NEIGHBOURS = """
    SELECT n.nspname || '.' || c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%'
      AND n.nspname NOT IN ('information_schema', 'sluice', 'scores') AND NOT c.relispartition
    ORDER BY n.nspname = :schema DESC, 1 LIMIT 10
"""
_COLUMNS = """
    WITH RECURSIVE base AS (
        SELECT a.attnum, a.attname::text AS name, a.atttypid AS type
        FROM pg_attribute a WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT attnum, name, typbasetype FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd'
    )
    SELECT name, quote_ident(name) AS quoted,
           CASE WHEN typtype = 'e' THEN 'enum' ELSE format_type(type, NULL) END AS type
    FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype <> 'd' ORDER BY attnum
"""
_PRIMARY_KEY = """
    SELECT a.attname::text FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = :oid AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)
"""


def parse_table_name(name: str) -> tuple[str, str]:
    """Return schema and table of ``schema.table``; a name with a dot or a capital letter in it may stand in quotes.

    Raises
    ------
    SourceTableError
        When the text has no schema.
    """
    match = _QUALIFIED.fullmatch(name)
    if match is None:
        raise SourceTableError(
            f"--from-table: expected schema.table, such as source.orders; found '{name}'. Write the schema, too."
        )
    quoted_schema, schema, quoted_table, table = match.groups()
    return (
        quoted_schema.replace('""', '"') if quoted_schema else schema,
        quoted_table.replace('""', '"') if quoted_table else table,
    )


@contextlib.contextmanager
def readable(table: str) -> Iterator[None]:
    """Translate what the database says about a table that cannot be read.

    Raises
    ------
    SourceTableError
    """
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        reason = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        raise SourceTableError(
            f"{table}: expected a table that can be read; the database found: {reason}. Nothing was written. Correct "
            "the table or view, or grant the right that the message names; `sluice psql` runs a statement as Sluice "
            "does."
        ) from error


def read_profile(connection: Connection, schema: str, name: str) -> TableProfile:
    """Read a table's columns with statistics of all its rows.

    Raises
    ------
    SourceTableError
        When there is no such table, or it cannot be read, or it has too many columns.
    """
    found = connection.execute(text(_RELATION), {"schema": schema, "name": name}).one_or_none()
    if found is None:
        raise SourceTableError(_no_table(connection, schema, name))
    if not found.readable:
        raise SourceTableError(
            f"{schema}.{name}: expected a table that this role may read; found no right to. Nothing was written. "
            f"Its owner runs: GRANT USAGE ON SCHEMA {found.quoted.split('.')[0]} TO {_role(connection)}; "
            f"GRANT SELECT ON {found.quoted} TO {_role(connection)};"
        )
    columns = connection.execute(text(_COLUMNS), {"oid": found.oid}).all()
    if len(columns) > MAX_COLUMNS:
        raise SourceTableError(
            f"{schema}.{name}: expected at most {MAX_COLUMNS:,} columns; found {len(columns):,}. Nothing was written. "
            "Make a view of the columns that the model needs, and name the view instead."
        )
    if not columns:
        raise SourceTableError(f"{schema}.{name}: expected a table with columns; found none. Nothing was written.")
    key = connection.execute(text(_PRIMARY_KEY), {"oid": found.oid}).scalars().all()
    rows = int(_run(connection, f"SELECT count(*) FROM {found.quoted}").scalar_one())
    profiles = tuple(_column(connection, found.quoted, column, rows) for column in columns)
    return TableProfile(found.schema, found.name, found.quoted, rows, profiles, tuple(key))


def count_distinct(connection: Connection, table: TableProfile, expressions: Sequence[str]) -> int:
    """Return how many different rows the `expressions` have."""
    listed = ", ".join(expressions)
    statement = f"SELECT count(*) FROM (SELECT {listed} FROM {table.quoted} GROUP BY {listed}) AS found"
    return int(_run(connection, statement).scalar_one())


def columns_like_times(connection: Connection, table: TableProfile) -> list[str]:
    """Return the text columns of which a sample of rows all look like times."""
    texts = [column for column in table.columns if column.type in ("text", "character varying") and column.distinct > 1]
    found = []
    for column in texts:
        looks = _run(
            connection,
            f"SELECT bool_and(value ~ '{_TEXT_TIME}') FROM (SELECT {column.quoted} AS value FROM {table.quoted} "
            f"WHERE {column.quoted} IS NOT NULL LIMIT 1000) AS rows",
        ).scalar_one()
        if looks:
            found.append(column.name)
    return found


def read_density(connection: Connection, roles: Roles) -> Density | None:
    """Return how the rows lie in time; None if no row has both a time and a label."""
    rows = f"{roles.common_table}SELECT {roles.time.sql} AS at, {roles.target.sql} AS label FROM {roles.table_sql}"
    # A time that is infinite, or outside the years that Python has, is in no window.
    given = "at >= TIMESTAMPTZ '0002-01-01 00:00+00' AND at < TIMESTAMPTZ '9998-01-01 00:00+00'"
    newest = (
        f"SELECT at FROM ({rows}) AS rows WHERE {given} AND label IS NOT NULL ORDER BY at DESC LIMIT {MAX_WINDOW_ROWS}"
    )
    oldest, latest, labelled = _run(connection, f"SELECT min(at), max(at), count(*) FROM ({newest}) AS newest").one()
    if oldest is None:
        return None
    share = min(0.5, max(HOLDOUT_SHARE, _FEW_HOLDOUT_ROWS / labelled))
    border = _run(
        connection, f"SELECT percentile_disc({1 - share}) WITHIN GROUP (ORDER BY at) FROM ({newest}) AS newest"
    ).scalar_one()
    if border == oldest < latest:  # one time has nearly all rows
        border = _run(
            connection, f"SELECT min(at) FROM ({newest}) AS newest WHERE at > TIMESTAMPTZ '{oldest.isoformat()}'"
        ).scalar_one()
    hours = _run(
        connection,
        f"SELECT date_trunc('hour', at AT TIME ZONE 'UTC') AS hour, count(*) FROM ({rows}) AS rows "
        f"WHERE {given} AND at >= TIMESTAMPTZ '{oldest.isoformat()}' GROUP BY 1 ORDER BY 1",
    ).all()
    return Density(
        oldest=oldest.astimezone(UTC),
        newest=latest.astimezone(UTC),
        border=border.astimezone(UTC),
        rows_by_hour={hour.replace(tzinfo=UTC): count for hour, count in hours},
    )


def is_unique_within(connection: Connection, roles: Roles, cron_unit: str) -> bool:
    """Return whether each key occurs once in each hour, day, week or month (`cron_unit`) of UTC."""
    rows = (
        f"{roles.common_table}SELECT {roles.key_sql.sql} AS key, "
        f"date_trunc('{cron_unit}', {roles.time.sql} AT TIME ZONE 'UTC') AS part FROM {roles.table_sql}"
    )
    statement = f"SELECT count(*) FROM (SELECT FROM ({rows}) AS rows GROUP BY key, part HAVING count(*) > 1) AS again"
    return not _run(connection, statement).scalar_one()


def count_parts(connection: Connection, query: str, roles: Roles, window: Window) -> PartCounts:
    """Return the numbers of rows in the window, of which `query` is the bound ``features.sql``."""
    border = window.end - window.holdout
    label = f'"{roles.target.name}"'
    found = _run(
        connection,
        f"SELECT \"{roles.time.name}\" < TIMESTAMPTZ '{border.isoformat()}' AS train, "
        f"{f'{label}::text' if roles.classes else f'CASE WHEN {label} IS NOT NULL THEN {chr(39) * 2} END'} AS label, "
        f"count(*) AS rows FROM (\n{query}\n) AS rows GROUP BY 1, 2",
    ).all()
    by_class: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for train, name, rows in found:
        if name is not None:
            by_class[train][name] = rows
    return PartCounts(
        all_rows=sum(rows for _, _, rows in found),
        train=sum(by_class[True].values()),
        holdout=sum(by_class[False].values()),
        train_by_class=by_class[True],
        holdout_by_class=by_class[False],
    )


def constant_in_part(connection: Connection, query: str, roles: Roles, window: Window) -> dict[str, str]:
    """Return the features with a single value in all labelled rows of the training or of the holdout, and where."""
    border = (window.end - window.holdout).isoformat()
    part = f"CASE WHEN \"{roles.time.name}\" < TIMESTAMPTZ '{border}' THEN 'training' ELSE 'holdout' END"
    found: dict[str, str] = {}
    for chunk in _chunks([feature for feature, _ in roles.features], 100):
        tests = ", ".join(f'{_is_constant(feature)} AS "{feature.name}"' for feature in chunk)
        statement = (
            f"SELECT {part} AS part, {tests} FROM (\n{query}\n) AS rows "
            f'WHERE "{roles.target.name}" IS NOT NULL GROUP BY 1'
        )
        for row in _run(connection, statement).mappings():
            for name in (feature.name for feature in chunk):
                if row[name]:
                    found[name] = "training and holdout" if name in found else row["part"]
    return found


def _is_constant(feature: Feature) -> str:
    """Return the SQL of whether all values are equal; nulls are a value. Counting the different ones needs a sort."""
    casts = {"categorical": '::text COLLATE "C"', "boolean": "::int"}  # booleans have no smallest one
    given, value = f'count("{feature.name}")', f'"{feature.name}"{casts.get(feature.matrix_type, "")}'
    return f"({given} = 0 OR ({given} = count(*) AND min({value}) = max({value})))"


def _no_table(connection: Connection, schema: str, name: str) -> str:
    others = connection.execute(text(_NEIGHBOURS), {"schema": schema}).scalars().all()
    listed = f"tables that there are: {', '.join(others)}" if others else "there are no tables yet"
    return (
        f"{schema}.{name}: expected a table or view of this name; found none ({listed}). Nothing was written. Correct "
        "the name; `--from-csv FILE` makes a table of a file."
    )


def _role(connection: Connection) -> str:
    return str(connection.execute(text("SELECT quote_ident(current_user)")).scalar_one())


def _column(connection: Connection, table: str, column: Row[Any], rows: int) -> ColumnProfile:
    plain = ColumnProfile(name=column.name, quoted=column.quoted, type=column.type)
    if not rows or column.type not in _GROUPED:
        return plain
    grouped = f"SELECT {column.quoted} AS value, count(*) AS rows FROM {table} GROUP BY 1"
    measures = [
        "coalesce(sum(rows) FILTER (WHERE value IS NULL), 0) AS nulls",
        "count(value) AS distinct",
    ]
    if column.type in NUMBERS:
        finite = f"value BETWEEN -{_LARGEST} AND {_LARGEST}"
        rounded = f"CASE WHEN abs(value) BETWEEN {_SMALLEST} AND {_LARGEST} THEN value::real ELSE 0 END"
        measures += [
            f"min(value) FILTER (WHERE {finite})::float8 AS low",
            f"max(value) FILTER (WHERE {finite})::float8 AS high",
            f"coalesce(sum(rows) FILTER (WHERE value IS NOT NULL AND NOT ({finite})), 0) AS infinite",
            f"coalesce(bool_and(value = trunc(value)) FILTER (WHERE {finite}), false) AS whole",
            f"count(DISTINCT {rounded}) FILTER (WHERE {finite}) AS distinct_single",
        ]
    if column.type in TEXTS:
        measures.append("coalesce(max(length(value::text)), 0) AS longest")
    found: Mapping[str, Any] = (
        _run(connection, f"SELECT {', '.join(measures)} FROM ({grouped}) AS grouped").mappings().one()
    )
    values: dict[str, int] = {}
    if 0 < found["distinct"] <= MAX_VALUES and column.type not in TIMES:
        statement = (
            f"SELECT value::text, sum(rows)::bigint FROM ({grouped}) AS grouped WHERE value IS NOT NULL GROUP BY 1"
        )
        values = {str(value): int(count) for value, count in _run(connection, statement)}
    return ColumnProfile(
        name=column.name,
        quoted=column.quoted,
        type=column.type,
        nulls=int(found["nulls"]),
        distinct=int(found["distinct"]),
        distinct_single=int(found.get("distinct_single") or 0),
        low=found.get("low"),
        high=found.get("high"),
        infinite=int(found.get("infinite") or 0),
        whole=bool(found.get("whole")),
        values=values,
        longest=int(found.get("longest") or 0),
    )


def _run(connection: Connection, statement: str) -> Any:
    """Run a statement without parameters, in which a colon or a per cent sign means nothing."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _chunks(features: Sequence[Feature], size: int) -> Iterator[Sequence[Feature]]:
    for first in range(0, len(features), size):
        yield features[first : first + size]


def at_midnight(moment: datetime) -> datetime:
    """Return the first midnight (UTC) after a time."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
