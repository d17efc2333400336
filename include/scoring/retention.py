"""Retention: removal of old partitions, without blocking readers.

The newest published partition of a model always stays. With ``retain_latest``, so does every partition that holds the
newest score of a key, because the look-up of that key returns it. The ledger keeps the record of the publication;
``sluice.partition_removal`` records what was removed, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Engine

from include.errors import PartitionInUseError
from include.records import PublishedPartition, RemovedPartition
from include.scoring.attempts import own_connection, partition_name
from include.scoring.errors import database_errors
from include.spec import ModelSpec

log = logging.getLogger(__name__)

_LOCK_TIMEOUT = "30s"
_PUBLISHED = "SELECT * FROM sluice.published_partition WHERE model = %s ORDER BY partition_start"
_KEY = "hashtextextended('sluice.score.' || %s || '.' || extract(epoch FROM %s::timestamptz), 0)"
_PENDING = """
    SELECT inhdetachpending FROM pg_inherits
    WHERE inhrelid = to_regclass(%s) AND inhparent = to_regclass(%s)
"""
_NOTE = """
    INSERT INTO sluice.partition_removal (model, partition_start, sequence, row_count, reason)
    VALUES (%(model)s, %(partition_start)s, %(sequence)s, %(row_count)s, %(reason)s)
    RETURNING model, partition_start, sequence, row_count, reason, removed_at
"""


def drop_partitions(
    engine: Engine,
    spec: ModelSpec,
    now: datetime,
    *,
    only: Sequence[datetime] | None = None,
    reason: str | None = None,
    keep_needed: bool = True,
) -> tuple[RemovedPartition, ...]:
    """Remove the partitions that ended more than ``spec.scoring.retention`` before `now`, except those still needed.

    If a long query reads a partition, this waits for 30 seconds, and the next call continues. Readers never wait: the
    partition is detached concurrently.

    Parameters
    ----------
    only : sequence of datetime, optional
        Starts of partitions to remove regardless of their age.
    reason : str, optional
        The reason for the ledger; by default the age.
    keep_needed : bool
        False: a partition of `only` is removed also when look-ups still need it, as one that should never have been.

    Returns
    -------
    tuple of RemovedPartition
        The removed partitions.

    Raises
    ------
    PartitionInUseError
        When a partition of `only` is still needed, or not published.
    DatabaseError
        When the database fails; a retry is safe.
    """
    if only is None and spec.scoring.retention is None:
        return ()
    with database_errors(f"retention of model '{spec.name}'"), own_connection(engine) as connection:
        published = _published(connection, spec.name)
        if only is not None:
            return tuple(
                _retire_one(connection, spec, published, start, reason or "removed by hand", keep_needed=keep_needed)
                for start in only
            )
        retired = []
        for each in _older(spec, published, now):
            why = reason or f"ended more than {spec.scoring.retention} before {now:%Y-%m-%d %H:%M} UTC"
            try:
                retired.append(_retire_one(connection, spec, published, each.partition_start, why))
            except PartitionInUseError as kept:
                log.info("%s", kept)
            except psycopg.errors.LockNotAvailable:
                log.warning(
                    "a long query reads partition %s of %s: the next run removes it",
                    each.partition_start,
                    spec.name,
                )
        return tuple(retired)


def expired_partitions(engine: Engine, spec: ModelSpec, now: datetime) -> tuple[PublishedPartition, ...]:
    """Return the partitions that `drop_partitions` would remove at `now` because of their age, oldest first."""
    if spec.scoring.retention is None:
        return ()
    with database_errors(f"retention of model '{spec.name}'"), own_connection(engine) as connection:
        return tuple(
            each
            for each in _older(spec, _published(connection, spec.name), now)
            if not (
                spec.scoring.retain_latest
                and _holds_newest(
                    connection,
                    spec.name,
                    f'scores."{partition_name(spec.name, each.partition_start)}"',
                    each.partition_start,
                )
            )
        )


def _older(spec: ModelSpec, published: Sequence[PublishedPartition], now: datetime) -> Sequence[PublishedPartition]:
    """Return those of all published partitions, oldest first, that are older than the declared retention."""
    assert spec.scoring.retention is not None  # noqa: S101  # the callers return before
    return [each for each in published[:-1] if each.partition_end <= now - spec.scoring.retention]


def _published(connection: psycopg.Connection[Any], model: str) -> list[PublishedPartition]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [PublishedPartition.model_validate(row) for row in cursor.execute(_PUBLISHED, [model]).fetchall()]


def _retire_one(
    connection: psycopg.Connection[Any],
    spec: ModelSpec,
    published: Sequence[PublishedPartition],
    start: datetime,
    reason: str,
    *,
    keep_needed: bool = True,
) -> RemovedPartition:
    found = next((each for each in published if each.partition_start == start), None)
    if found is None:
        raise PartitionInUseError(spec.name, start, "it is not published, or was already removed")
    if keep_needed and found is published[-1]:
        raise PartitionInUseError(spec.name, start, "it is the newest partition")
    name, parent = f'scores."{partition_name(spec.name, start)}"', f'scores."{spec.name}"'
    with _held(connection, spec.name, start):
        pending = connection.execute(_PENDING, [name, parent]).fetchone()
        if pending == (False,):
            if keep_needed and spec.scoring.retain_latest and _holds_newest(connection, spec.name, name, start):
                raise PartitionInUseError(spec.name, start, "it contains the newest score of a key")
            connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {name} CONCURRENTLY")
        elif pending == (True,):  # an earlier call stopped waiting for a reader
            connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {name} FINALIZE")
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
            row = cursor.execute(_NOTE, {**found.model_dump(), "reason": reason}).fetchone()
    return RemovedPartition.model_validate(row)


def _holds_newest(connection: psycopg.Connection[Any], model: str, name: str, start: datetime) -> bool:
    row = connection.execute(
        f"SELECT EXISTS (SELECT FROM {name} AS old WHERE NOT EXISTS ("  # noqa: S608  # checked identifiers
        f'SELECT FROM scores."{model}" AS newer'
        " WHERE newer.entity_key = old.entity_key AND newer.partition_start > %s))",
        [start],
    ).fetchone()
    return row is not None and bool(row[0])


@contextmanager
def _held(connection: psycopg.Connection[Any], model: str, start: datetime) -> Iterator[None]:
    """Lock the partition against attempts meanwhile. Not in a transaction, because DETACH CONCURRENTLY allows none."""
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    connection.execute(f"SELECT pg_advisory_lock({_KEY})", [model, start])  # of constants
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(f"SELECT pg_advisory_unlock({_KEY})", [model, start])
