"""Score tables: created from the spec when a model scores for the first time.

Alembic manages the tables of Sluice. The tables of a model follow from its declaration (see
docs/decisions/0003-score-tables-follow-the-spec.md). `include.score_table` lists the columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Engine, text

from include.errors import ScoreTableError
from include.score_table import KEY, PARTITION, PROBABILITY, VALUE, VERSION, ScoreColumn, answer_columns, table_columns
from include.spec import ModelSpec

_LOCK_TIMEOUT = "10s"
_EXISTING = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped
"""


def ensure_score_table(engine: Engine, spec: ModelSpec) -> None:
    """Create ``scores.<model>`` and its ``_latest`` view unless they exist; add missing columns.

    Raises
    ------
    ScoreTableError
        When the table exists with other prediction columns or another type of key, because the classes or the entity
        key were changed.
    """
    table, view = f'scores."{spec.name}"', f'scores."{spec.name}_latest"'
    columns = table_columns(spec)
    with engine.begin() as connection:
        advisory_lock(connection, f"sluice.table.{spec.name}")
        existing = _existing(connection, table)
        if existing:
            _check_columns(spec, table, existing)
            missing = _add_missing(connection, table, columns, existing)
            if not missing:
                return
        else:
            # Every name here and below is an identifier that ModelSpec has checked.
            connection.exec_driver_sql(
                f"CREATE TABLE {table} ({_definitions(columns)}, PRIMARY KEY ({KEY}, {PARTITION})) "
                f"PARTITION BY RANGE ({PARTITION})"
            )
        connection.exec_driver_sql(
            f"CREATE OR REPLACE VIEW {view} AS SELECT DISTINCT ON ({KEY}) * FROM {table} "  # noqa: S608  # checked, as above
            f"ORDER BY {KEY}, {PARTITION} DESC"
        )
        for relation in (table, view):
            _comment(connection, columns, relation)


def check_score_table(engine: Engine, spec: ModelSpec) -> bool:
    """Check that the score table, if there is one, fits the declaration; change nothing. Return whether there is one.

    Raises
    ------
    ScoreTableError
        As `ensure_score_table` does.
    """
    table = f'scores."{spec.name}"'
    with engine.connect() as connection:
        existing = _existing(connection, table)
    if existing:
        _check_columns(spec, table, existing)
    return bool(existing)


def ensure_shadow_table(connection: Connection, spec: ModelSpec) -> str:
    """Create ``scores.<model>_shadow`` unless it exists, add missing columns, and return its name.

    Raises
    ------
    ScoreTableError
        When the table exists with another type of key.
    """
    table = f'scores."{spec.name}_shadow"'
    columns = [column for column in table_columns(spec) if column.in_shadow]
    advisory_lock(connection, f"sluice.table.{spec.name}_shadow")
    existing = _existing(connection, table)
    if existing:
        _check_key(spec, table, existing)
        _add_missing(connection, table, columns, existing)
        return table
    connection.exec_driver_sql(
        f"CREATE TABLE {table} ({_definitions(columns)}, PRIMARY KEY ({PARTITION}, {VERSION}, {KEY}))"
    )
    _comment(connection, columns, table)
    return table


def advisory_lock(connection: Connection, name: str) -> None:
    """Wait until nobody else holds the lock of this name; it is released when the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def _definitions(columns: Sequence[ScoreColumn]) -> str:
    return ", ".join(column.definition for column in columns)


def _existing(connection: Connection, table: str) -> dict[str, str]:
    """Return the names of the table's columns with their types; empty when the table does not exist."""
    return {str(name): str(kind) for name, kind in connection.execute(text(_EXISTING), {"name": table})}


def _add_missing(connection: Connection, table: str, columns: Sequence[ScoreColumn], existing: Collection[str]) -> bool:
    """Add the columns that were added to the list after the table was created; return whether there were any.

    Existing rows get the default, or NULL. The lock is short, since no row is written, but it waits for queries that
    read the table, and other queries wait behind it. So it times out after 10 seconds, and the task's retry tries
    again.
    """
    missing = [column for column in columns if column.name not in existing]
    if missing:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {column.definition}" for column in missing)
        connection.exec_driver_sql(f"ALTER TABLE {table} {added}")
        _comment(connection, missing, table)
    return bool(missing)


def _check_columns(spec: ModelSpec, table: str, existing: Mapping[str, str]) -> None:
    _check_answers(spec, existing)
    _check_key(spec, table, existing)


def _check_answers(spec: ModelSpec, existing: Collection[str]) -> None:
    found = {name for name in existing if name.startswith(PROBABILITY) or name == VALUE}
    expected = answer_columns(spec.target.classes)
    if found != set(expected):
        raise ScoreTableError(
            f'scores."{spec.name}": expected the answer columns {sorted(expected)}, as spec.py declares; '
            f"found {sorted(found)}. The classes or the task were changed: give the changed model a new name, "
            "so that the published scores stay readable."
        )


def _check_key(spec: ModelSpec, table: str, existing: Mapping[str, str]) -> None:
    if existing[KEY] != spec.entity_key.type:
        raise ScoreTableError(
            f"{table}: expected the column {KEY} to be {spec.entity_key.type}, as spec.py declares; found "
            f"{existing[KEY]}. The type of the entity key was changed: give the changed model a new name, so that the "
            "published scores stay readable."
        )


def _comment(connection: Connection, columns: Sequence[ScoreColumn], relation: str) -> None:
    for column in columns:
        escaped = column.comment.replace("'", "''").replace("%", "%%")  # the driver looks for placeholders
        connection.exec_driver_sql(f"COMMENT ON COLUMN {relation}.\"{column.name}\" IS '{escaped}'")
