"""Jobs in PostgreSQL: reserve, store, claim, process chunk by chunk, finish. All times are the database's.

A worker holds a job by a lease, which each finished chunk renews. If the worker is killed, the lease expires, and
another worker claims the job with the next attempt number and continues with the unfinished chunks. A worker that was
only slow finds that its attempt number is outdated and writes nothing.

A submission takes several short transactions. The first reserves the job's space while it holds a lock, so that of many
submissions at the same time no two count on the same space; it writes one small row. The next ones write the rows of
the job in batches, without a lock, and the last one queues it. If the process dies between them, the reservation is
removed with what was stored when its lease has expired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, RowMapping, text

from model_service.http.json import encode
from model_service.jobs.quotas import Quota, Quotas, Shortage, Usage, first_exceeded

JobState = Literal["queued", "running", "done", "failed"]
MAX_ATTEMPTS: Final = 5
QUOTA_LOCK: Final = 7_305_318_275
SUBMIT_SECONDS: Final = 60
BATCH_BYTES: Final = 2 * 1024 * 1024
REMOVE_EXPIRED_SECONDS: Final = 10.0
# Expired jobs are removed in batches, so that no transaction is long: about as many chunks as a large job has.
REMOVE_CHUNKS: Final = 200

_COLUMNS: Final = (
    "id, model, version, artifact_digest, state, row_count AS rows, rows_done, error, "
    "reserved_bytes AS stored_bytes, submitted_at, started_at, finished_at, expires_at"
)
_THIS_HOUR: Final = "date_trunc('hour', now(), 'UTC')"
_VISIBLE: Final = "subject = :subject AND expires_at > now() AND state <> 'submitting'"
_CLAIMABLE: Final = (
    "job.expires_at > now() AND (job.state = 'queued' OR (job.state = 'running' AND job.lease_until < now())) "
    "AND job.model = ANY(CAST(:models AS text[])) "
    "AND (CAST(:digests AS text[]) IS NULL OR job.artifact_digest = ANY(CAST(:digests AS text[])))"
)


class JobChunk(msgspec.Struct, frozen=True):
    """Some rows of a job, stored as the body of a prediction request for these rows."""

    first_row: int
    row_count: int
    body: bytes


class Job(msgspec.Struct, kw_only=True):
    """The state of a job, as clients see it; `stored_bytes` is what it counts toward the quotas."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    state: JobState
    rows: int
    rows_done: int
    error: dict[str, Any] | None
    stored_bytes: int
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime


class NewJob(msgspec.Struct, frozen=True):
    """A job to be stored.

    Attributes
    ----------
    prediction_bytes : int
        The most bytes that the prediction of one row takes.
    ttl_hours : float
        How long the job and its result are kept.
    """

    id: UUID
    model: str
    version: int
    artifact_digest: str
    subject: str
    prediction_bytes: int
    ttl_hours: float
    chunks: Sequence[JobChunk]

    @property
    def row_count(self) -> int:
        """Number of rows to predict."""
        return sum(chunk.row_count for chunk in self.chunks)

    @property
    def max_bytes(self) -> int:
        """The most bytes that its rows and predictions take together."""
        return sum(_max_bytes(chunk, self.prediction_bytes) for chunk in self.chunks)


class ClaimedJob(msgspec.Struct, frozen=True):
    """A job that this worker holds until its lease expires."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    attempt: int
    prediction_bytes: int


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


def _max_bytes(chunk: JobChunk, prediction_bytes: int) -> int:
    return len(chunk.body) + 2 + chunk.row_count * prediction_bytes  # two: the brackets of the list


# -- for requests ----------------------------------------------------------------------------------


def usage(connection: Connection, subject: str) -> tuple[Usage, Usage]:
    """Return what the jobs of `subject` take, and what all jobs take."""
    columns = ", ".join(
        f"count(*) FILTER (WHERE state IN ('submitting', 'queued', 'running') AND {of}), count(*) FILTER (WHERE {of}), "  # noqa: S608
        f"coalesce(sum(reserved_bytes) FILTER (WHERE {of}), 0), "
        f"(SELECT coalesce(sum(hour_bytes), 0) FROM sluice_jobs.job_caller WHERE hour = {_THIS_HOUR} AND {of})"
        for of in ("subject = :subject", "true")
    )
    numbers = connection.execute(text(f"SELECT {columns} FROM sluice_jobs.job"), {"subject": subject}).one()  # noqa: S608
    counted = [int(each) for each in numbers]
    return Usage(*counted[:4]), Usage(*counted[4:])


def shortage(connection: Connection, subject: str, quotas: Quotas, added: Usage) -> Shortage | None:
    """Return the quota that `added` would exceed, with the time when there is room again; None if there is room now."""
    own, total = usage(connection, subject)
    quota = first_exceeded(quotas, own, total, added)
    if quota is None:
        return None
    used, requested = (own if quota.per_caller else total).of(quota.kind), added.of(quota.kind)
    return Shortage(quota, used, requested, _available_at(connection, subject, quota, used + requested - quota.limit))


def _available_at(connection: Connection, subject: str, quota: Quota, lacking: int) -> datetime | None:
    if quota.kind == "queued_jobs":
        return None
    weight = "reserved_bytes" if quota.kind == "stored_bytes" else "1"
    statement = (
        f"SELECT {_THIS_HOUR} + interval '1 hour'"
        if quota.kind == "hourly_bytes"
        else "SELECT min(expires_at) FROM (SELECT expires_at, "  # noqa: S608
        f"sum({weight}) OVER (ORDER BY expires_at, id) AS freed FROM sluice_jobs.job "
        "WHERE :total OR subject = :subject) AS expiring WHERE freed >= :lacking"
    )
    parameters = {"total": not quota.per_caller, "subject": subject, "lacking": lacking}
    at: datetime | None = connection.execute(text(statement), parameters).scalar_one()
    return at


def reserve(connection: Connection, job: NewJob, quotas: Quotas) -> Shortage | None:
    """Reserve the space of a job, in a transaction of its own; return the quota that it would exceed, or None."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": QUOTA_LOCK})
    lacking = shortage(connection, job.subject, quotas, Usage(1, 1, job.max_bytes, job.max_bytes))
    if lacking is None:
        connection.execute(
            text(
                "INSERT INTO sluice_jobs.job_caller AS caller (subject, hour, hour_bytes) "  # noqa: S608
                f"VALUES (:subject, {_THIS_HOUR}, :bytes) ON CONFLICT (subject) DO UPDATE SET hour = excluded.hour, "
                "hour_bytes = excluded.hour_bytes + "
                "CASE caller.hour WHEN excluded.hour THEN caller.hour_bytes ELSE 0 END"
            ),
            {"subject": job.subject, "bytes": job.max_bytes},
        )
        connection.execute(
            text(
                "INSERT INTO sluice_jobs.job (id, model, version, artifact_digest, subject, state, row_count, "
                "prediction_bytes, reserved_bytes, lease_until, expires_at) "
                "VALUES (:id, :model, :version, :artifact_digest, :subject, 'submitting', :row_count, "
                ":prediction_bytes, :reserved_bytes, clock_timestamp() + make_interval(secs => :lease), "
                "clock_timestamp() + make_interval(secs => :ttl))"
            ),
            {
                **{name: getattr(job, name) for name in ("id", "model", "version", "artifact_digest", "subject")},
                "row_count": job.row_count,
                "prediction_bytes": job.prediction_bytes,
                "reserved_bytes": job.max_bytes,
                "lease": SUBMIT_SECONDS,
                "ttl": job.ttl_hours * 3600,
            },
        )
    return lacking


def batches(chunks: Sequence[JobChunk]) -> Iterator[list[JobChunk]]:
    """Split chunks into batches of about `BATCH_BYTES`, for one transaction each."""
    batch: list[JobChunk] = []
    size = 0
    for chunk in chunks:
        if batch and size + len(chunk.body) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += len(chunk.body)
    yield batch


def store(connection: Connection, job: UUID, chunks: Sequence[JobChunk]) -> bool:
    """Store rows of a job that was reserved; False if the reservation has expired meanwhile."""
    renewed = connection.execute(
        text(
            "UPDATE sluice_jobs.job SET lease_until = clock_timestamp() + make_interval(secs => :lease) "
            "WHERE id = :id AND state = 'submitting'"
        ),
        {"id": job, "lease": SUBMIT_SECONDS},
    ).rowcount
    if not renewed:
        return False
    connection.execute(
        text(
            "INSERT INTO sluice_jobs.job_chunk (job, first_row, row_count, body)"
            " VALUES (:job, :first_row, :row_count, :body)"
        ),
        [{"job": job, **msgspec.structs.asdict(chunk)} for chunk in chunks],
    )
    return True


def enqueue(connection: Connection, job: UUID) -> Job | None:
    """Queue a job whose rows are stored, and return it; None if the reservation has expired meanwhile."""
    statement = text(
        "UPDATE sluice_jobs.job SET state = 'queued', lease_until = NULL "  # noqa: S608
        f"WHERE id = :id AND state = 'submitting' RETURNING {_COLUMNS}"
    )
    row = connection.execute(statement, {"id": job}).mappings().one_or_none()
    return None if row is None else _job(row)


def find(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Return the subject's job; None if it does not exist or has expired."""
    statement = text(f"SELECT {_COLUMNS} FROM sluice_jobs.job WHERE id = :id AND {_VISIBLE}")  # noqa: S608
    row = connection.execute(statement, {"id": job, "subject": subject}).mappings().one_or_none()
    return None if row is None else _job(row)


def jobs_of(connection: Connection, subject: str, models: Sequence[str] | None, offset: int, limit: int) -> list[Job]:
    """Return up to `limit` jobs of the subject, newest first, from position `offset`; only of `models` unless None."""
    statement = text(
        f"SELECT {_COLUMNS} FROM sluice_jobs.job WHERE {_VISIBLE} "  # noqa: S608
        "AND (CAST(:models AS text[]) IS NULL OR model = ANY(CAST(:models AS text[]))) "
        "ORDER BY submitted_at DESC, id LIMIT :limit OFFSET :offset"
    )
    parameters = {"subject": subject, "models": models, "limit": limit, "offset": offset}
    return [_job(row) for row in connection.execute(statement, parameters).mappings()]


def predictions(connection: Connection, job: UUID, first: int, end: int, max_bytes: int) -> list[tuple[int, bytes]]:
    """Return predictions of a finished job, a JSON list for each chunk with the position of its first row.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    job : UUID
    first, end : int
        The chunks that have a row from position `first` to before `end`.
    max_bytes : int
        No more than these bytes are read, but at least one chunk. The lengths are known without reading the values.
    """
    statement = text(
        "SELECT first_row, predictions FROM (SELECT first_row, predictions, "
        "row_number() OVER (ORDER BY first_row) AS place, "
        "sum(octet_length(predictions)) OVER (ORDER BY first_row) AS bytes FROM sluice_jobs.job_chunk "
        "WHERE job = :job AND first_row + row_count > :first AND first_row < :end) AS chunk "
        "WHERE place = 1 OR bytes <= :max_bytes ORDER BY first_row"
    )
    rows = connection.execute(statement, {"job": job, "first": first, "end": end, "max_bytes": max_bytes})
    return [(row.first_row, bytes(row.predictions)) for row in rows]


def delete(connection: Connection, job: UUID, subject: str) -> Job | None:
    """Delete the subject's job with its rows and predictions, and return it as it was; None if there is none."""
    statement = text(f"DELETE FROM sluice_jobs.job WHERE id = :id AND {_VISIBLE} RETURNING {_COLUMNS}")  # noqa: S608
    row = connection.execute(statement, {"id": job, "subject": subject}).mappings().one_or_none()
    return None if row is None else _job(row)


# -- for workers -----------------------------------------------------------------------------------


def claim(connection: Connection, job_filter: JobFilter, lease_seconds: float) -> ClaimedJob | None:
    """Claim a job of `job_filter` that is queued or whose lease has expired; None if there is none.

    Subjects take turns: the next job is the oldest one of the subject with the fewest running jobs and, of those, of
    the one that was served least recently. Workers that claim at the same time see the same order and skip what another
    has locked, so a subject's second job comes after the first of every other.
    """
    row = connection.execute(
        text(
            "UPDATE sluice_jobs.job SET state = 'running', attempt = attempt + 1, "  # noqa: S608
            "lease_until = now() + make_interval(secs => :lease), started_at = coalesce(started_at, now()) "
            "WHERE id = (SELECT job.id FROM sluice_jobs.job AS job "
            "JOIN (SELECT id, row_number() OVER (PARTITION BY subject ORDER BY submitted_at, id) AS place "
            f"FROM sluice_jobs.job AS job WHERE {_CLAIMABLE}) AS waiting ON waiting.id = job.id "
            "LEFT JOIN (SELECT subject, count(*) AS jobs FROM sluice_jobs.job "
            "WHERE state = 'running' AND lease_until >= now() GROUP BY subject) AS running "
            "ON running.subject = job.subject "
            "LEFT JOIN sluice_jobs.job_caller AS caller ON caller.subject = job.subject "
            f"WHERE {_CLAIMABLE} "
            "ORDER BY coalesce(running.jobs, 0) + waiting.place, caller.served_at NULLS FIRST, job.submitted_at "
            "LIMIT 1 FOR UPDATE OF job SKIP LOCKED) "
            "RETURNING id, model, version, artifact_digest, attempt, prediction_bytes, subject"
        ),
        {"lease": lease_seconds, "models": job_filter.models, "digests": job_filter.artifact_digests},
    ).one_or_none()
    if row is None:
        return None
    connection.execute(
        text("UPDATE sluice_jobs.job_caller SET served_at = clock_timestamp() WHERE subject = :subject"),
        {"subject": row.subject},
    )
    return ClaimedJob(*row[:6])


def next_chunk(connection: Connection, job: ClaimedJob) -> JobChunk | None:
    """Return the first unfinished chunk of `job`; None if all are finished."""
    row = connection.execute(
        text(
            "SELECT first_row, row_count, body FROM sluice_jobs.job_chunk WHERE job = :job AND predictions IS NULL "
            "ORDER BY first_row LIMIT 1"
        ),
        {"job": job.id},
    ).one_or_none()
    return None if row is None else JobChunk(row.first_row, row.row_count, bytes(row.body))


def finish_chunk(
    connection: Connection, job: ClaimedJob, chunk: JobChunk, predictions: bytes, lease_seconds: float
) -> bool:
    """Store a chunk's predictions in place of its rows and renew the lease; False if this worker no longer holds it."""
    if not _update_claimed(
        connection,
        job,
        "rows_done = rows_done + :rows, lease_until = now() + make_interval(secs => :lease), "
        "reserved_bytes = reserved_bytes - :reserved + :stored",
        {
            "rows": chunk.row_count,
            "lease": lease_seconds,
            "reserved": _max_bytes(chunk, job.prediction_bytes),
            "stored": len(predictions),
        },
    ):
        return False
    connection.execute(
        text(
            "UPDATE sluice_jobs.job_chunk SET predictions = :predictions, body = NULL "
            "WHERE job = :job AND first_row = :first_row"
        ),
        {"predictions": predictions, "job": job.id, "first_row": chunk.first_row},
    )
    return True


def finish(connection: Connection, job: ClaimedJob) -> bool:
    """Mark the job as done."""
    return _update_claimed(connection, job, "state = 'done', finished_at = clock_timestamp(), lease_until = NULL", {})


def fail(connection: Connection, job: ClaimedJob, error: dict[str, Any]) -> bool:
    """Mark the job as failed, with the reason, and delete its rows and predictions, which nobody can use."""
    change = (
        "state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, error = CAST(:error AS jsonb), "
        "reserved_bytes = 0"
    )
    if not _update_claimed(connection, job, change, {"error": encode(error).decode()}):
        return False
    connection.execute(text("DELETE FROM sluice_jobs.job_chunk WHERE job = :job"), {"job": job.id})
    return True


def release(connection: Connection, job: ClaimedJob) -> bool:
    """Return the job to the queue, so that another worker can claim it immediately."""
    return _update_claimed(connection, job, "state = 'queued', lease_until = NULL", {})


def remove_expired(connection: Connection) -> bool:
    """Remove an expired job that no other worker is removing, or some of its chunks; False if there is none.

    Its rows and predictions are removed in small batches: call it until it returns False.
    """
    job = connection.execute(
        text(
            "SELECT id FROM sluice_jobs.job WHERE expires_at <= now() "
            "OR (state = 'submitting' AND lease_until < now()) LIMIT 1 FOR UPDATE SKIP LOCKED"
        )
    ).scalar_one_or_none()
    if job is None:
        connection.execute(
            text(
                f"DELETE FROM sluice_jobs.job_caller AS caller WHERE hour < {_THIS_HOUR} "  # noqa: S608
                "AND NOT EXISTS (SELECT FROM sluice_jobs.job WHERE subject = caller.subject)"
            )
        )
        return False
    removed = connection.execute(
        text(
            "DELETE FROM sluice_jobs.job_chunk WHERE job = :job AND first_row IN "
            "(SELECT first_row FROM sluice_jobs.job_chunk WHERE job = :job LIMIT :limit)"
        ),
        {"job": job, "limit": REMOVE_CHUNKS},
    ).rowcount
    if removed < REMOVE_CHUNKS:
        connection.execute(text("DELETE FROM sluice_jobs.job WHERE id = :job"), {"job": job})
    return True


def _update_claimed(connection: Connection, job: ClaimedJob, change: str, values: dict[str, Any]) -> bool:
    statement = text(
        f"UPDATE sluice_jobs.job SET {change} WHERE id = :id AND attempt = :attempt AND state = 'running'"  # noqa: S608
    )
    return connection.execute(statement, {**values, "id": job.id, "attempt": job.attempt}).rowcount == 1


def _job(row: RowMapping) -> Job:
    return Job(**row)
