"""Deletions of models in the ledger, and what the online service keeps of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from include.errors import ModelAliveError
from include.records import ModelDeletion

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name || :model, 0))")
_REGISTERING, _DELETING = "sluice.register.", "sluice.deletion."
_RECORD = text("""
    INSERT INTO sluice.model_deletion (model, last_version, last_sequence, actor, reason)
    SELECT cast(:model AS text),
           (SELECT coalesce(max(version), 0) FROM sluice.model_version WHERE model = :model),
           (SELECT coalesce(max(sequence), 0) FROM sluice.promotion WHERE model = :model),
           :actor, :reason
    ON CONFLICT (model, last_version) DO NOTHING
""")
_DELETIONS = text("""
    SELECT model, last_version, last_sequence, actor, reason, deleted_at
    FROM sluice.model_deletion WHERE model = :model ORDER BY last_version
""")
_NEWEST_VERSION = text("SELECT coalesce(max(version), 0) FROM sluice.model_version WHERE model = :model")
_KNOWN = text("SELECT DISTINCT model FROM sluice.model_version ORDER BY model")
_REQUESTS = ("sluice_jobs.job", "sluice.prediction_log")


def read_deletions(connection: Connection, model: str) -> tuple[ModelDeletion, ...]:
    """Return every deletion of a model, oldest first."""
    rows = connection.execute(_DELETIONS, {"model": model}).mappings()
    return tuple(ModelDeletion.model_validate(dict(row)) for row in rows)


def record_deletion(connection: Connection, model: str, actor: str, reason: str) -> ModelDeletion:
    """Record that a model is deleted, as part of the caller's transaction, and return the record.

    A deletion that was recorded before, and after which no version was registered, is returned as it is. Until the
    transaction ends, no version of the model is registered, promoted, approved, published or run in shadow; afterwards
    the database refuses those of before.
    """
    # A promotion or publication takes the second lock after its locks on tables, so this comes after the tables.
    for name in (_REGISTERING, _DELETING):
        connection.execute(_LOCK, {"name": name, "model": model})
    connection.execute(_RECORD, {"model": model, "actor": actor, "reason": reason})
    return read_deletions(connection, model)[-1]


def count_requests(engine: Engine, model: str) -> tuple[int, int]:
    """Return the number of the model's jobs, and of its rows in the prediction log."""
    jobs, logged = (text(f"SELECT count(*) FROM {table} WHERE model = :model") for table in _REQUESTS)  # noqa: S608  # constants
    with engine.connect() as connection:
        found = [int(connection.execute(each, {"model": model}).scalar_one()) for each in (jobs, logged)]
    return found[0], found[1]


def remove_requests(connection: Connection, model: str) -> None:
    """Remove the model's jobs and its rows in the prediction log."""
    for table in _REQUESTS:
        connection.execute(text(f"DELETE FROM {table} WHERE model = :model"), {"model": model})  # noqa: S608  # constants


@contextmanager
def no_registration(engine: Engine, deletion: ModelDeletion) -> Iterator[None]:
    """Let nobody register a version of a deleted model in the block, and so put an artifact of it.

    Raises
    ------
    ModelAliveError
        When a version was registered since the deletion.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK, {"name": _REGISTERING, "model": deletion.model})
        newest = int(connection.execute(_NEWEST_VERSION, {"model": deletion.model}).scalar_one())
        if newest > deletion.last_version:
            raise ModelAliveError(deletion.model, newest)
        yield


def registered_models(engine: Engine) -> tuple[str, ...]:
    """Return the name of every model that has a version in the ledger, deleted ones too."""
    with engine.connect() as connection:
        return tuple(connection.execute(_KNOWN).scalars())
