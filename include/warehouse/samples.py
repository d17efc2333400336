"""The samples as tables of schema source: the flights of New York, the irises, and a skeleton's table.

Loading is idempotent: ``source.sample_load`` records the loaded tables, and the weeks by which they were moved.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Engine, text

from include.errors import SourceTableError
from include.warehouse.sample_flights import FLIGHT_TABLES, LAST_DAY, SampleTable, open_file

logger = logging.getLogger(__name__)

SampleDates = Literal["shifted", "true"]
SKELETON_ROWS = 2000
SKELETON_DAYS = 90
_LOAD_LOCK = 7_305_318_275
_COPY_BYTES = 1 << 20

_IRIS = """sample_key text PRIMARY KEY, observed_at timestamptz NOT NULL, sepal_length float8 NOT NULL,
    sepal_width float8 NOT NULL, petal_length float8 NOT NULL, petal_width float8 NOT NULL, species text NOT NULL"""

_RELATION = """
    SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass('source.' || :name)) AS kind,
           EXISTS (SELECT FROM source.sample_load WHERE table_name = :name) AS loaded,
           ARRAY(SELECT attname::text FROM pg_attribute
                 WHERE attrelid = to_regclass('source.' || :name) AND attnum > 0 AND NOT attisdropped) AS columns
"""

_SKELETON = """row_key text PRIMARY KEY, observed_at timestamptz NOT NULL, amount float8,
    channel text NOT NULL, returning_customer boolean NOT NULL, outcome text"""


def load_samples(engine: Engine, *, dates: SampleDates, today: date) -> dict[str, int]:
    """Load the sample tables that do not exist yet or no longer reach `today`.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    dates : {"shifted", "true"}
        ``shifted`` moves the year 2013 forward by the minimum number of whole weeks with which its last day is `today`
        or later. ``true`` leaves it in 2013.
    today : date

    Returns
    -------
    dict of str to int
        Rows by table, including tables that already existed.

    Raises
    ------
    SourceTableError
        When a relation with the name of a sample is not a sample's table; then nothing is loaded.
    """
    weeks = shift_weeks(today) if dates == "shifted" else 0
    rows = {}
    _prepare(engine)
    _check_own(engine)
    for sample in FLIGHT_TABLES:
        rows[sample.name] = _load_once(engine, sample.name, weeks, partial(_copy_file, sample=sample, weeks=weeks))
    rows["iris"] = _load_once(engine, "iris", weeks, partial(_copy_iris, last=LAST_DAY + timedelta(weeks=weeks)))
    return rows


def shift_weeks(today: date) -> int:
    """Return the minimum number of whole weeks that move the last day of the flights to `today` or later."""
    return max(0, math.ceil((today - LAST_DAY).days / 7))


def create_skeleton_table(engine: Engine, name: str, *, today: date | None = None) -> int:
    """Create ``source.<name>`` with synthetic rows to train the skeleton of a new model.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    name : str
        An identifier, checked by `include.models.skeleton.write_skeleton`.
    today : date, optional
        The last day of the rows, in UTC; by default the current one.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    SourceTableError
        When there is a table or view of this name; it is not changed.
    """
    last = today or datetime.now(UTC).date()
    table = f'source."{name}"'
    _prepare(engine)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOAD_LOCK})
        _check_new(connection, name)
        connection.execute(text(f"CREATE TABLE {table} ({_SKELETON})"))
        connection.execute(text(f"CREATE INDEX ON {table} (observed_at)"))
        connection.execute(text(f"COMMENT ON TABLE {table} IS 'Synthetic rows of the skeleton model {name}'"))
        _copy_rows(connection, table, _skeleton_rows(last))
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608 (identifier)


def check_new_table(engine: Engine, name: str) -> None:
    """Raise SourceTableError when ``source.<name>`` exists."""
    with engine.connect() as connection:
        _check_new(connection, name)


def _check_new(connection: Connection, name: str) -> None:
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": f'source."{name}"'}) is not None:
        raise SourceTableError(
            f"source.{name}: expected no table or view of this name, since the new model's sample rows go there; found "
            f"one. Nothing was changed. Choose another name for the model, or drop or rename source.{name}."
        )


def _check_own(engine: Engine) -> None:
    """Check before any sample is loaded that no relation of the user has the name of one."""
    definitions = {sample.name: sample.columns for sample in FLIGHT_TABLES} | {"iris": _IRIS}
    with engine.connect() as connection:
        foreign = [name for name, columns in definitions.items() if not _own_or_none(connection, name, columns)]
    if foreign:
        names = ", ".join(f"source.{name}" for name in foreign)
        raise SourceTableError(
            f"the sample tables: expected that {names} do not exist, or are tables of `sluice load-samples`; found "
            "others. Nothing was changed. Rename or drop them, or load the samples into another database "
            "(SLUICE_DATABASE_URL)."
        )


def _own_or_none(connection: Connection, name: str, columns: str) -> bool:
    """Return whether the relation is missing, or is a table that was loaded as a sample and has its columns."""
    found = connection.execute(text(_RELATION), {"name": name}).one()
    declared = {definition.split()[0] for definition in columns.split(",")}
    return found.kind is None or (found.kind == "r" and found.loaded and declared <= set(found.columns))


def _prepare(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOAD_LOCK})
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS source"))
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS source.sample_load (table_name text PRIMARY KEY,"
                " shift_weeks integer NOT NULL, rows bigint NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now())"
            )
        )


def _load_once(engine: Engine, name: str, weeks: int, load: Callable[[Connection], int]) -> int:
    """Load one table in one transaction, unless it exists with the requested shift."""
    started = time.monotonic()
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOAD_LOCK})
        found = connection.execute(
            text(
                "SELECT shift_weeks, rows FROM source.sample_load"
                " WHERE table_name = :name AND to_regclass('source.' || table_name) IS NOT NULL"
            ),
            {"name": name},
        ).one_or_none()
        if found is not None and found.shift_weeks == weeks:
            logger.info("Sample source.%s already exists: %s rows.", name, f"{found.rows:,}")
            return int(found.rows)
        if found is not None:
            logger.info(
                "Sample source.%s was moved by %d weeks; loading it again, moved by %d.", name, found.shift_weeks, weeks
            )
        rows = load(connection)
        connection.execute(
            text(
                "INSERT INTO source.sample_load (table_name, shift_weeks, rows) VALUES (:name, :weeks, :rows)"
                " ON CONFLICT (table_name) DO UPDATE SET shift_weeks = :weeks, rows = :rows, loaded_at = now()"
            ),
            {"name": name, "weeks": weeks, "rows": rows},
        )
    logger.info("Sample source.%s: %s rows in %.1f s.", name, f"{rows:,}", time.monotonic() - started)
    return rows


def _copy_file(connection: Connection, sample: SampleTable, weeks: int) -> int:
    is_new = _empty(connection, sample.name, sample.columns)
    connection.execute(text(f"CREATE TEMPORARY TABLE raw ({sample.raw}) ON COMMIT DROP"))
    with (
        open_file(sample) as file,
        # HEADER MATCH: a file with other columns is refused, not misread.
        _cursor(connection).copy("COPY raw FROM STDIN (FORMAT csv, HEADER match, NULL 'NA')") as copy,
    ):
        while block := file.read(_COPY_BYTES):
            copy.write(block)
    rows = connection.execute(text(f"INSERT INTO source.{sample.name} {sample.select_moved(weeks)}")).rowcount
    once = (*sample.indexes, *sample.comments) if is_new else ()
    for statement in (*once, f"ANALYZE source.{sample.name}"):
        connection.execute(text(statement))
    return rows


def _copy_iris(connection: Connection, last: date) -> int:
    """Assign each flower to a different day, in shuffled order, so that every period has all three species."""
    from sklearn.datasets import load_iris  # slow to import, and needed once

    flowers = load_iris()
    order = random.Random(0).sample(range(len(flowers.target)), len(flowers.target))  # noqa: S311 (no secret)
    noon = datetime(last.year, last.month, last.day, 12, tzinfo=UTC)
    rows = [
        (
            f"iris-{number + 1:03d}",
            noon - timedelta(days=len(order) - 1 - place),
            *(float(value) for value in flowers.data[number]),
            str(flowers.target_names[flowers.target[number]]),
        )
        for place, number in enumerate(order)
    ]
    is_new = _empty(connection, "iris", _IRIS)
    _copy_rows(connection, "source.iris", rows)
    if is_new:
        connection.execute(text("CREATE INDEX ON source.iris (observed_at)"))
        connection.execute(text("COMMENT ON TABLE source.iris IS 'Fisher''s irises, one a day; centimetres'"))
    connection.execute(text("ANALYZE source.iris"))
    return len(rows)


def _skeleton_rows(last: date) -> Iterable[tuple[object, ...]]:
    chance = random.Random(0)  # noqa: S311 (a fixed seed is the point)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    step = timedelta(days=SKELETON_DAYS) / SKELETON_ROWS
    lift = {"web": 0.0, "shop": 0.8, "phone": -0.8}
    for number in range(SKELETON_ROWS):
        amount = round(chance.lognormvariate(3.5, 0.8), 2)
        channel = chance.choice(sorted(lift))
        returning = chance.random() < 0.4
        # Not linear in the amount, so that trees are better than a linear model.
        logit = lift[channel] + (1.2 if returning else -0.6) + (1.5 if 20 < amount < 60 else -1.0)
        outcome = "yes" if chance.random() < 1 / (1 + math.exp(-logit)) else "no"
        seen = None if chance.random() < 0.02 else amount
        yield f"row-{number + 1:05d}", end - step * (SKELETON_ROWS - number), seen, channel, returning, outcome


def _empty(connection: Connection, name: str, columns: str) -> bool:
    """Create or empty a table; return whether it is new. An existing one is kept, since views may depend on it."""
    is_new = connection.scalar(text("SELECT to_regclass(:table)"), {"table": f"source.{name}"}) is None
    connection.execute(text(f"CREATE TABLE source.{name} ({columns})" if is_new else f"TRUNCATE source.{name}"))
    return is_new


def _copy_rows(connection: Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    with _cursor(connection).copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _cursor(connection: Connection) -> Any:
    """Return a psycopg cursor inside the transaction of `connection`: SQLAlchemy does not support COPY."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection was closed before its COPY; open it again")
    return driver.cursor()
