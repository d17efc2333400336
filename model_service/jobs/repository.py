"""Jobs in PostgreSQL: submitted, taken, worked chunk by chunk, finished. Every clock is the database's.

A worker holds a job by a lease that each finished chunk renews. When it is killed the lease runs out
and another worker takes the job, with the next attempt's number, and goes on with the chunks that are
not done. A worker that was only slow finds its attempt outdated and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, RowMapping, text

from model_service.http.responses import encode

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
MAX_ATTEMPTS: Final = 5

_SHOWN: Final = (
    "id, model, version, artifact_digest, state, row_count AS rows, rows_done, error, "
    "submitted_at, started_at, finished_at, expires_at"
)


class JobChunk(msgspec.Struct, frozen=True):
    """Some rows of a job, as the body of a request that asks for them alone."""

    first_row: int
    row_count: int
    body: bytes


class Job(msgspec.Struct, kw_only=True):
    """What a client is told of a job."""

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
    """A job that this worker holds, for as long as its lease lasts."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    attempt: int


class JobFilter(NamedTuple):
    """Whose jobs a worker takes.

    Attributes
    ----------
    models : sequence of str
        Of these models.
    artifact_digests : sequence of str or None
        Only what is bound to one of these artifacts; None: whatever version a job is bound to can be loaded.
    """

    models: Sequence[str]
    artifact_digests: Sequence[str] | None = None


# -- for requests ----------------------------------------------------------------------------------


def submit(
    connection: Connection, about: dict[str, Any], chunks: Sequence[JobChunk], *, hours: float, most: int
) -> Job | None:
    """Store a job with its chunks; None if `most` jobs wait or run already.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    about : dict
        id, model, version, artifact_digest and subject.
    chunks : sequence of JobChunk
    hours : float
        How long the job and its result are kept.
    most : int
        How many jobs may wait or run. Two that are submitted at once may both be the last.
    """
    row = (
        connection.execute(
            text(
                "INSERT INTO sluice.job (id, model, version, artifact_digest, subject, row_count, expires_at) "  # noqa: S608
                "SELECT :id, :model, :version, :artifact_digest, :subject, :row_count, "
                "now() + make_interval(secs => :seconds) "
                "WHERE (SELECT count(*) FROM sluice.job WHERE state IN ('queued', 'running')) < :most "
                f"RETURNING {_SHOWN}"
            ),
            {**about, "row_count": sum(chunk.row_count for chunk in chunks), "seconds": hours * 3600, "most": most},
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
        [{"job": about["id"], **msgspec.structs.asdict(chunk)} for chunk in chunks],
    )
    return _job(row)


def find(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Return the subject's job; None if there is none, or no more."""
    statement = text(f"SELECT {_SHOWN} FROM sluice.job WHERE id = :id AND subject = :subject AND expires_at > now()")  # noqa: S608
    row = connection.execute(statement, {"id": job, "subject": subject}).mappings().one_or_none()
    return None if row is None else _job(row)


def answers(connection: Connection, job: UUID) -> list[bytes]:
    """Return the answers of a job's chunks, each a JSON list, in the order of its rows."""
    statement = text("SELECT answers FROM sluice.job_chunk WHERE job = :job ORDER BY first_row")
    return [bytes(each) for each in connection.execute(statement, {"job": job}).scalars()]


def cancel(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Cancel the subject's job if it waits or runs, and forget its rows; return it as it then is."""
    row = (
        connection.execute(
            text(
                "UPDATE sluice.job SET state = 'cancelled', finished_at = clock_timestamp(), lease_until = NULL "  # noqa: S608
                "WHERE id = :id AND subject = :subject AND state IN ('queued', 'running') AND expires_at > now() "
                f"RETURNING {_SHOWN}"
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
    """Take the oldest job of those `job_filter` that waits, or whose worker is gone; None if there is none."""
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
    """Return the first chunk of `job` that has no answers; None if all have."""
    row = connection.execute(
        text(
            "SELECT first_row, row_count, body FROM sluice.job_chunk WHERE job = :job AND answers IS NULL "
            "ORDER BY first_row LIMIT 1"
        ),
        {"job": job.id},
    ).one_or_none()
    return None if row is None else JobChunk(row.first_row, row.row_count, bytes(row.body))


def finish_chunk(
    connection: Connection, job: ClaimedJob, chunk: JobChunk, answers: bytes, lease_seconds: float
) -> bool:
    """Store a chunk's answers and renew the lease; False if the job is no longer this worker's."""
    if not _update_claimed(
        connection,
        job,
        "rows_done = rows_done + :rows, lease_until = now() + make_interval(secs => :lease)",
        {"rows": chunk.row_count, "lease": lease_seconds},
    ):
        return False
    connection.execute(
        text("UPDATE sluice.job_chunk SET answers = :answers WHERE job = :job AND first_row = :first_row"),
        {"answers": answers, "job": job.id, "first_row": chunk.first_row},
    )
    return True


def finish(connection: Connection, job: ClaimedJob) -> bool:
    """Note that all chunks are done."""
    return _update_claimed(connection, job, "state = 'done', finished_at = clock_timestamp(), lease_until = NULL", {})


def fail(connection: Connection, job: ClaimedJob, error: dict[str, Any]) -> bool:
    """Note why the job cannot be done."""
    change = "state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, error = CAST(:error AS jsonb)"
    return _update_claimed(connection, job, change, {"error": encode(error).decode()})


def release(connection: Connection, job: ClaimedJob) -> bool:
    """Let another worker take the job at once."""
    return _update_claimed(connection, job, "state = 'queued', lease_until = NULL", {})


def remove_expired(connection: Connection, most: int = 20) -> int:
    """Remove up to `most` jobs that have expired, which no other worker is removing; return how many that were."""
    return connection.execute(
        text(
            "DELETE FROM sluice.job WHERE id IN "
            "(SELECT id FROM sluice.job WHERE expires_at <= now() LIMIT :most FOR UPDATE SKIP LOCKED)"
        ),
        {"most": most},
    ).rowcount


def _update_claimed(connection: Connection, job: ClaimedJob, change: str, values: dict[str, Any]) -> bool:
    statement = text(
        f"UPDATE sluice.job SET {change} WHERE id = :id AND attempt = :attempt AND state = 'running'"  # noqa: S608
    )
    return connection.execute(statement, {**values, "id": job.id, "attempt": job.attempt}).rowcount == 1


def _job(row: RowMapping) -> Job:
    return Job(**row)
