"""Submits, finds and deletes jobs on behalf of requests."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, ProgrammingError

from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.http.errors import (
    HTTPError,
    JobNotDoneError,
    JobNotFoundError,
    JobQuotaExceededError,
    JobsUnavailableError,
    PayloadTooLargeError,
    TooManyJobsError,
)
from model_service.jobs import repository
from model_service.jobs.chunks import PAGE_BYTES, max_prediction_bytes
from model_service.jobs.quotas import Quotas, Shortage, Usage
from model_service.jobs.repository import Job, JobChunk, NewJob
from model_service.models.registry import LoadedModel

T = TypeVar("T")

QUEUE_RETRY_SECONDS: Final = 5

_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_TOO_SLOW: Final = f"storing the rows took more than {repository.SUBMIT_SECONDS} s. Submit the job again"
_SUBMIT_NOTHING: Final = Usage(1, 1, 1, 1)


class ResultPage(NamedTuple):
    """Consecutive predictions of a job, as a JSON list; `next_offset` is None after the last one."""

    predictions: bytes
    next_offset: int | None


class JobService:
    """The jobs of callers. A caller sees only its own jobs.

    Parameters
    ----------
    executor : QueryExecutor or None
        For a database in which jobs can be written.
    ttl_hours : float
        How long a job and its result are kept.
    quotas : tuple of Quota

    All methods raise `JobsUnavailableError` if the database does not respond or does not permit writing.
    """

    def __init__(self, executor: QueryExecutor | None, *, ttl_hours: float, quotas: Quotas) -> None:
        self._executor, self._ttl_hours, self.quotas = executor, ttl_hours, quotas

    def check_room(self, subject: str) -> None:
        """Refuse a submission for which there is no room, whatever its size, before its body is parsed.

        Without a database it does nothing: `submit` refuses, after the errors of the body.

        Raises
        ------
        JobQuotaExceededError, TooManyJobsError
        """
        if self._executor is not None:
            lacking = self._run(
                lambda connection: repository.shortage(connection, subject, self.quotas, _SUBMIT_NOTHING)
            )
            if lacking is not None:
                raise _refusal(lacking)

    def submit(self, loaded: LoadedModel, chunks: Sequence[JobChunk], subject: str) -> Job:
        """Store a job for the version `loaded`.

        Raises
        ------
        JobQuotaExceededError
            If it would exceed a quota of the caller.
        TooManyJobsError
            If it would exceed a quota of all callers.
        PayloadTooLargeError
            If it is larger than a whole quota.
        """
        job = NewJob(
            id=uuid.uuid4(),
            model=loaded.model,
            version=loaded.version,
            artifact_digest=loaded.artifact_digest,
            subject=subject,
            prediction_bytes=max_prediction_bytes(loaded.classes),
            ttl_hours=self._ttl_hours,
            chunks=chunks,
        )
        for quota in self.quotas:
            if quota.kind in ("stored_bytes", "hourly_bytes") and job.max_bytes > quota.limit:
                raise PayloadTooLargeError("bytes of rows and predictions of a job", quota.limit, quota.setting)
        lacking = self._run(lambda connection: repository.reserve(connection, job, self.quotas))
        if lacking is not None:
            raise _refusal(lacking)
        for batch in repository.batches(chunks):
            if not self._run(partial(repository.store, job=job.id, chunks=batch)):
                raise JobsUnavailableError(_TOO_SLOW)
        queued = self._run(partial(repository.enqueue, job=job.id))
        if queued is None:
            raise JobsUnavailableError(_TOO_SLOW)
        return queued

    def find(self, job: str, subject: str) -> Job:
        """Return the caller's job with this id.

        Raises
        ------
        JobNotFoundError
            If there is none, or it belongs to another caller.
        """
        job_id = _id_of(job)
        found = self._run(lambda connection: repository.find(connection, job_id, subject))
        if found is None:
            raise JobNotFoundError(job)
        return found

    def jobs_of(self, subject: str, models: Collection[str] | None, offset: int, limit: int) -> tuple[list[Job], Usage]:
        """Return up to `limit` of the caller's jobs, newest first, and what all of them take.

        Parameters
        ----------
        subject : str
        models : collection of str or None
            Only jobs of these models; None: of any.
        offset, limit : int
        """
        names = None if models is None else sorted(models)
        return self._run(
            lambda connection: (
                repository.jobs_of(connection, subject, names, offset, limit),
                repository.usage(connection, subject)[0],
            )
        )

    def predictions(self, job: Job, offset: int, limit: int) -> ResultPage:
        """Return up to `limit` predictions of a job that is done, from row `offset`.

        They may be fewer, so that the response stays small: one database query reads a part that is bounded in bytes.

        Raises
        ------
        JobNotDoneError
            If it is not done.
        JobNotFoundError
            If it was deleted or has expired meanwhile: a part without rows would look like the end.
        """
        if job.state != "done":
            raise JobNotDoneError(str(job.id), job.state)
        end = min(offset + limit, job.rows)
        if offset >= end:
            return ResultPage(b"[]", None)
        chunks = self._run(lambda connection: repository.predictions(connection, job.id, offset, end, PAGE_BYTES))
        if not chunks:
            raise JobNotFoundError(str(job.id))
        rows: list[msgspec.Raw] = []
        for first_row, predictions in chunks:
            of_chunk = _decode_rows(predictions)
            rows += of_chunk[max(0, offset - first_row) : end - first_row]
        reached = offset + len(rows)
        return ResultPage(b"[" + b",".join(rows) + b"]", reached if reached < job.rows else None)

    def delete(self, job: Job, subject: str) -> Job:
        """Delete the caller's job with its rows and predictions, whatever its state, and return it as it was.

        Raises
        ------
        JobNotFoundError
            If it was deleted or has expired meanwhile.
        """
        deleted = self._run(lambda connection: repository.delete(connection, job.id, subject))
        if deleted is None:
            raise JobNotFoundError(str(job.id))
        return deleted

    def _run(self, query: Callable[[Connection], T]) -> T:
        if self._executor is None:
            raise JobsUnavailableError("no database is configured")
        try:
            return self._executor.run(lambda connection: _in_transaction(connection, query))
        except DatabaseUnavailableError as error:
            raise JobsUnavailableError(str(error)) from error
        except (IntegrityError, ProgrammingError) as error:
            raise _unavailable(error) from error


def _id_of(job: str) -> uuid.UUID:
    try:
        return uuid.UUID(job)
    except ValueError:
        raise JobNotFoundError(job) from None


def _in_transaction(connection: Connection, query: Callable[[Connection], T]) -> T:
    with connection.begin():
        return query(connection)


_WHAT: Final = {
    "queued_jobs": "places of queued and running jobs",
    "stored_jobs": "places of stored jobs (finished ones included)",
    "stored_bytes": "bytes of storage (finished jobs included)",
    "hourly_bytes": "bytes that may be submitted in this hour of UTC (deleted jobs included)",
}


def _refusal(lacking: Shortage) -> HTTPError:
    """Return the error that says which quota is used up, how much is used, and how and when there is room again."""
    quota = lacking.quota
    whose = "your jobs" if quota.per_caller else "the jobs of all callers"
    reason = (
        f"{whose} use {lacking.used} of {quota.limit} {_WHAT[quota.kind]}; this one needs at least "
        f"{lacking.requested} more. {_what_to_do(lacking)} Or ask the operator to raise {quota.setting}."
    )
    members = {
        "kind": quota.kind,
        "limit": quota.limit,
        "used": lacking.used,
        "requested": lacking.requested,
        "available_at": lacking.available_at,
        "setting": quota.setting,
    }
    error = JobQuotaExceededError if quota.per_caller else TooManyJobsError
    return error(reason, members, _retry_seconds(lacking))


def _what_to_do(lacking: Shortage) -> str:
    at = f"{lacking.available_at:%Y-%m-%dT%H:%M:%SZ}" if lacking.available_at else ""
    if lacking.quota.kind == "queued_jobs":
        return "Wait until one of them has finished, or delete one of yours: DELETE /v1/jobs/<job>."
    if lacking.quota.kind == "hourly_bytes":
        return f"Wait until the next hour begins, at {at}."
    expiry = f", or wait until enough have expired, at {at}" if at else ""
    return f"Delete jobs of yours whose result you have read (DELETE /v1/jobs/<job>; GET /v1/jobs lists them){expiry}."


def _retry_seconds(lacking: Shortage) -> int:
    if lacking.available_at is None:
        return QUEUE_RETRY_SECONDS
    seconds = (lacking.available_at - datetime.now(UTC)).total_seconds() + repository.REMOVE_EXPIRED_SECONDS
    return max(1, math.ceil(seconds))


def _unavailable(error: IntegrityError | ProgrammingError) -> JobsUnavailableError:
    """Return what is wrong with the set-up of the database; any other error is raised again."""
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501":
        return JobsUnavailableError(
            "the role of SLUICE_DATABASE_URL has no permission to write them: grant it sluice_worker"
        )
    if state in ("42P01", "3F000"):
        return JobsUnavailableError("the database has no tables for them: run `sluice migrate`")
    if state == "23503":
        return JobsUnavailableError(
            "the pinned version is not registered in the ledger; only registered versions accept jobs"
        )
    raise error
