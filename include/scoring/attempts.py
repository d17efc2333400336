"""Attempts at a partition, each with a number: the newest one wins, and older ones are fenced.

Every attempt writes through its own connection, whose server process is recorded in ``sluice.score_attempt``. A newer
attempt first ends the server processes of those that it replaces. So a task that is stopped or hangs holds no lock that
its successor needs, and finds its connection closed when it resumes. In case it can still write, the number is checked
again before each commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from include.errors import DatabaseError, FencedError
from include.scoring.errors import translate_error

AttemptStage = Literal["plan", "shard", "publish"]

STAGING = "staging"
_TRIES = 5

# Whether `one` replaces `other`. A plan replaces every earlier attempt; another attempt replaces earlier ones at the
# same piece of work of the same plan. When a plan is published, its shards have no work left.
REPLACES = """
    one.attempt > other.attempt AND (one.stage = 'plan'
        OR (one.plan = other.plan AND one.stage = other.stage AND one.shard IS NOT DISTINCT FROM other.shard)
        OR (one.plan = other.plan AND other.stage = 'shard' AND EXISTS (
            SELECT FROM sluice.partition_publication AS published
            WHERE (published.model, published.partition_start, published.attempt)
                = (one.model, one.partition_start, one.attempt))))
"""
_NEWER: LiteralString = f"""
    SELECT one.attempt, one.run_id, one.started_at
    FROM sluice.score_attempt AS one,
         (SELECT %(attempt)s::int AS attempt, %(stage)s::text AS stage, %(plan)s::int AS plan,
                 %(shard)s::int AS shard) AS other
    WHERE one.model = %(model)s AND one.partition_start = %(start)s AND {REPLACES}
    ORDER BY one.attempt DESC LIMIT 1
"""  # noqa: S608  # of constants
_END_OLDER: LiteralString = """
    SELECT count(pg_terminate_backend(activity.pid, 10000))
    FROM sluice.score_attempt AS other
    JOIN pg_stat_activity AS activity
      ON activity.pid = other.backend_pid AND activity.backend_start = other.backend_start
    WHERE other.model = %(model)s AND other.partition_start = %(start)s AND activity.pid <> pg_backend_pid()
      AND (%(stage)s::text = 'plan'
           OR (other.plan = %(plan)s AND other.stage = %(stage)s AND other.shard IS NOT DISTINCT FROM %(shard)s::int))
"""
_TAKE: LiteralString = (
    "SELECT sluice.take_score_attempt(%(model)s, %(start)s, %(stage)s, %(plan)s, %(shard)s, %(run)s, %(try)s)"
)


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """The work of an attempt.

    Attributes
    ----------
    try_number : int
        The number of the task's try. If a task is stopped before it gets an attempt number, and resumes after a later
        try of the same run got one, it gets none.
    """

    model: str
    start: datetime
    run_id: str
    stage: AttemptStage
    plan: int | None = None
    shard: int | None = None
    try_number: int = 1

    def __str__(self) -> str:
        what = {"plan": "the plan", "shard": f"shard {self.shard}", "publish": "the publication"}[self.stage]
        return f"{what} of model '{self.model}', partition {self.start:%Y-%m-%d %H:%M} UTC"

    def sql_params(self, attempt: int | None = None) -> dict[str, Any]:
        """Return the parameters of the SQL statements above."""
        named: dict[str, Any] = {"model": self.model, "start": self.start, "run": self.run_id, "stage": self.stage}
        named |= {"plan": self.plan, "shard": self.shard, "attempt": attempt, "try": self.try_number}
        return named


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt: its number, and the connection that it writes with while it is the newest."""

    key: AttemptKey
    number: int
    connection: psycopg.Connection[Any]

    @property
    def table(self) -> str:
        """The name of its table in schema ``staging``."""
        return staging_name(self.key.model, self.key.start, self.number)

    def lock(self) -> None:
        """Lock the partition against other attempts until the transaction ends, and check that this one is the newest.

        Raises
        ------
        FencedError
            When a newer attempt has replaced this one.
        """
        self.connection.execute("SELECT sluice.lock_score_partition(%s, %s)", [self.key.model, self.key.start])
        newer = _newer(self.connection, self.key, self.number)
        if newer is not None:
            raise newer


@contextlib.contextmanager
def acquire_attempt(engine: Engine, key: AttemptKey) -> Iterator[Attempt]:
    """Start an attempt at the work of `key`, replacing older attempts; close its connection at the end.

    Raises
    ------
    FencedError
        When a newer attempt has replaced this one, at the start or before a failure.
    DatabaseError
        When the database fails otherwise.
    """
    number: int | None = None
    try:
        with own_connection(engine) as connection:
            number = _take(connection, key)
            yield Attempt(key, number, connection)
    except (psycopg.Error, SQLAlchemyError) as error:
        newer = _newer_than(engine, key, number)
        raise newer or translate_error(error, str(key)) from error


def staging_name(model: str, start: datetime, attempt: int) -> str:
    """Return the name of an attempt's table in schema ``staging``; it has at most 63 bytes."""
    return f"{partition_name(model, start)}_a{attempt}"


def partition_name(model: str, start: datetime) -> str:
    """Return the name of a published partition in schema ``scores``."""
    return f"{model}_p{start:%Y%m%d_%H%M}"


@contextlib.contextmanager
def own_connection(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that never returns to the pool, so that its server process belongs to this attempt only."""
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    try:
        connection.rollback()
        connection.autocommit = True
        connection.execute("SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning")
        yield connection
    finally:
        connection.close()


def _take(connection: psycopg.Connection[Any], key: AttemptKey) -> int:
    for turn in range(_TRIES):
        with contextlib.suppress(
            psycopg.errors.InsufficientPrivilege
        ):  # a process of another role may not be ended; its own timeouts end it
            connection.execute(_END_OLDER, key.sql_params())
        try:
            row = connection.execute(_TAKE, key.sql_params()).fetchone()
        except psycopg.errors.LockNotAvailable:
            if turn == _TRIES - 1:
                raise
            continue
        if row is not None and row[0] is not None:
            return int(row[0])
        newer = _newer(connection, key, key.plan or 0)
        if newer is not None:
            raise newer
    raise DatabaseError(f"{key}: expected a number from sluice.take_score_attempt; found none. Run the task again.")


def _newer(connection: psycopg.Connection[Any], key: AttemptKey, number: int) -> FencedError | None:
    row = connection.execute(_NEWER, key.sql_params(number) | {"plan": key.plan or number}).fetchone()
    return None if row is None else FencedError(str(key), number, key.run_id, row[0], row[1], row[2])


def _newer_than(engine: Engine, key: AttemptKey, number: int | None) -> FencedError | None:
    """Query on a new connection, since the attempt's may have failed; None also when the database does not answer."""
    if number is None:
        return None
    with contextlib.suppress(psycopg.Error, SQLAlchemyError), own_connection(engine) as connection:
        return _newer(connection, key, number)
    return None
