"""Jobs in PostgreSQL: submit, claim, process chunk by chunk, finish. All times are the database's.

A worker holds a job by a lease, which each finished chunk renews. If the worker is killed, the lease expires, and
another worker claims the job with the next attempt number and continues with the unfinished chunks. A worker that was
only slow finds that its attempt number is outdated and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, RowMapping, text

from model_service.http.json import encode

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
MAX_ATTEMPTS: Final = 5

_COLUMNS: Final = (
    "id, model, version, artifact_digest, state, row_count AS rows, rows_done, error, "
    "submitted_at, started_at, finished_at, expires_at"
)


class JobChunk(msgspec.Struct, frozen=True):
    """Some rows of a job, stored as the body of a prediction request for these rows."""

    first_row: int
    row_count: int
    body: bytes


class Job(msgspec.Struct, kw_only=True):
    """The state of a job, as clients see it."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    state: JobState
    rows: int
    rows_done: int
    error: dict[str, Any] | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime


class ClaimedJob(msgspec.Struct, frozen=True):
    """A job that this worker holds until its lease expires."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    attempt: int


class JobFilter(NamedTuple):
    """The jobs that a worker can process.

    Attributes
    ----------
    models : sequence of str
        Jobs of these models.
    artifact_digests : sequence of str or None
        Only jobs that are bound to one of these artifacts; None: any version can be loaded.
    """

    models: Sequence[str]
    artifact_digests: Sequence[str] | None = None


# -- for requests ----------------------------------------------------------------------------------


def submit(
    connection: Connection, values: dict[str, Any], chunks: Sequence[JobChunk], *, ttl_hours: float, max_jobs: int
) -> Job | None:
    """Store a job with its chunks; None if `max_jobs` jobs are already queued or running.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    values : dict
        id, model, version, artifact_digest and subject.
    chunks : sequence of JobChunk
    ttl_hours : float
        How long the job and its result are kept.
    max_jobs : int
        Maximum number of queued and running jobs. Two jobs that are submitted at the same time may exceed it by one.
    """
    row = (
        connection.execute(
            text(
                "INSERT INTO sluice.job (id, model, version, artifact_digest, subject, row_count, expires_at) "  # noqa: S608
                "SELECT :id, :model, :version, :artifact_digest, :subject, :row_count, "
                "now() + make_interval(secs => :seconds) "
                "WHERE (SELECT count(*) FROM sluice.job WHERE state IN ('queued', 'running')) < :max_jobs "
                f"RETURNING {_COLUMNS}"
            ),
            {
                **values,
                "row_count": sum(chunk.row_count for chunk in chunks),
                "seconds": ttl_hours * 3600,
                "max_jobs": max_jobs,
            },
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    connection.execute(
        text(
            "INSERT INTO sluice.job_chunk (job, first_row, row_count, body)"
            " VALUES (:job, :first_row, :row_count, :body)"
        ),
        [{"job": values["id"], **msgspec.structs.asdict(chunk)} for chunk in chunks],
    )
    return _job(row)


def find(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Return the subject's job; None if it does not exist or has expired."""
    statement = text(f"SELECT {_COLUMNS} FROM sluice.job WHERE id = :id AND subject = :subject AND expires_at > now()")  # noqa: S608
    row = connection.execute(statement, {"id": job, "subject": subject}).mappings().one_or_none()
    return None if row is None else _job(row)


def predictions(connection: Connection, job: UUID) -> list[bytes]:
    """Return the predictions of a job, one JSON list per chunk, in the order of its rows."""
    statement = text("SELECT answers FROM sluice.job_chunk WHERE job = :job ORDER BY first_row")
    return [bytes(each) for each in connection.execute(statement, {"job": job}).scalars()]


def cancel(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Cancel the subject's job if it is queued or running, delete its rows, and return its new state."""
    row = (
        connection.execute(
            text(
                "UPDATE sluice.job SET state = 'cancelled', finished_at = clock_timestamp(), lease_until = NULL "  # noqa: S608
                "WHERE id = :id AND subject = :subject AND state IN ('queued', 'running') AND expires_at > now() "
                f"RETURNING {_COLUMNS}"
            ),
            {"id": job, "subject": subject},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return find(connection, job, subject)
    connection.execute(text("DELETE FROM sluice.job_chunk WHERE job = :job"), {"job": job})
    return _job(row)


# -- for workers -----------------------------------------------------------------------------------


def claim(connection: Connection, job_filter: JobFilter, lease_seconds: float) -> ClaimedJob | None:
    """Claim the oldest job of `job_filter` that is queued or whose lease has expired; None if there is none."""
    row = connection.execute(
        text(
            "UPDATE sluice.job SET state = 'running', attempt = attempt + 1, "
            "lease_until = now() + make_interval(secs => :lease), started_at = coalesce(started_at, now()) "
            "WHERE id = (SELECT id FROM sluice.job WHERE expires_at > now() "
            "AND (state = 'queued' OR (state = 'running' AND lease_until < now())) "
            "AND model = ANY(CAST(:models AS text[])) "
            "AND (CAST(:digests AS text[]) IS NULL OR artifact_digest = ANY(CAST(:digests AS text[]))) "
            "ORDER BY submitted_at LIMIT 1 FOR UPDATE SKIP LOCKED) "
            "RETURNING id, model, version, artifact_digest, attempt"
        ),
        {"lease": lease_seconds, "models": job_filter.models, "digests": job_filter.artifact_digests},
    ).one_or_none()
    return None if row is None else ClaimedJob(*row)


def next_chunk(connection: Connection, job: ClaimedJob) -> JobChunk | None:
    """Return the first unfinished chunk of `job`; None if all are finished."""
    row = connection.execute(
        text(
            "SELECT first_row, row_count, body FROM sluice.job_chunk WHERE job = :job AND answers IS NULL "
            "ORDER BY first_row LIMIT 1"
        ),
        {"job": job.id},
    ).one_or_none()
    return None if row is None else JobChunk(row.first_row, row.row_count, bytes(row.body))


def finish_chunk(
    connection: Connection, job: ClaimedJob, chunk: JobChunk, predictions: bytes, lease_seconds: float
) -> bool:
    """Store a chunk's predictions and renew the lease; False if this worker no longer holds the job."""
    if not _update_claimed(
        connection,
        job,
        "rows_done = rows_done + :rows, lease_until = now() + make_interval(secs => :lease)",
        {"rows": chunk.row_count, "lease": lease_seconds},
    ):
        return False
    connection.execute(
        text("UPDATE sluice.job_chunk SET answers = :predictions WHERE job = :job AND first_row = :first_row"),
        {"predictions": predictions, "job": job.id, "first_row": chunk.first_row},
    )
    return True


def finish(connection: Connection, job: ClaimedJob) -> bool:
    """Mark the job as done."""
    return _update_claimed(connection, job, "state = 'done', finished_at = clock_timestamp(), lease_until = NULL", {})


def fail(connection: Connection, job: ClaimedJob, error: dict[str, Any]) -> bool:
    """Mark the job as failed, with the reason."""
    change = "state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, error = CAST(:error AS jsonb)"
    return _update_claimed(connection, job, change, {"error": encode(error).decode()})


def release(connection: Connection, job: ClaimedJob) -> bool:
    """Return the job to the queue, so that another worker can claim it immediately."""
    return _update_claimed(connection, job, "state = 'queued', lease_until = NULL", {})


def remove_expired(connection: Connection, limit: int = 20) -> int:
    """Remove up to `limit` expired jobs that no other worker is removing; return their number."""
    return connection.execute(
        text(
            "DELETE FROM sluice.job WHERE id IN "
            "(SELECT id FROM sluice.job WHERE expires_at <= now() LIMIT :limit FOR UPDATE SKIP LOCKED)"
        ),
        {"limit": limit},
    ).rowcount


def _update_claimed(connection: Connection, job: ClaimedJob, change: str, values: dict[str, Any]) -> bool:
    statement = text(
        f"UPDATE sluice.job SET {change} WHERE id = :id AND attempt = :attempt AND state = 'running'"  # noqa: S608
    )
    return connection.execute(statement, {**values, "id": job.id, "attempt": job.attempt}).rowcount == 1


def _job(row: RowMapping) -> Job:
    return Job(**row)
