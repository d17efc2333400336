"""Submits, finds and cancels jobs on behalf of requests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, ProgrammingError

from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.http.errors import JobFinishedError, JobNotFoundError, JobsUnavailableError, TooManyJobsError
from model_service.jobs import repository
from model_service.jobs.repository import Job, JobChunk
from model_service.models.registry import LoadedModel

T = TypeVar("T")


class JobService:
    """The jobs of callers. A caller sees only its own jobs.

    Parameters
    ----------
    executor : QueryExecutor or None
        For a database in which jobs can be written.
    ttl_hours : float
        How long a job and its result are kept.
    max_jobs : int
        Maximum number of queued and running jobs.

    All methods raise `JobsUnavailableError` if the database does not respond or does not permit writing.
    """

    def __init__(self, executor: QueryExecutor | None, *, ttl_hours: float, max_jobs: int) -> None:
        self._executor, self._ttl_hours, self._max_jobs = executor, ttl_hours, max_jobs

    def submit(self, loaded: LoadedModel, chunks: Sequence[JobChunk], subject: str) -> Job:
        """Store a job for the version `loaded`.

        Raises
        ------
        TooManyJobsError
            If the maximum number of jobs is queued or running.
        """
        values = {
            "id": uuid.uuid4(),
            "model": loaded.model,
            "version": loaded.version,
            "artifact_digest": loaded.artifact_digest,
            "subject": subject,
        }
        job = self._run(
            lambda connection: repository.submit(
                connection, values, chunks, ttl_hours=self._ttl_hours, max_jobs=self._max_jobs
            )
        )
        if job is None:
            raise TooManyJobsError(self._max_jobs)
        return job

    def find(self, job: str, subject: str) -> Job:
        """Return the caller's job with this id.

        Raises
        ------
        JobNotFoundError
            If there is none, or it belongs to another caller.
        """
        try:
            job_id = uuid.UUID(job)
        except ValueError:
            raise JobNotFoundError(job) from None
        found = self._run(lambda connection: repository.find(connection, job_id, subject))
        if found is None:
            raise JobNotFoundError(job)
        return found

    def predictions(self, job: Job) -> list[bytes]:
        """Return the predictions of a finished job, one JSON list per chunk; an empty list before it is finished."""
        return self._run(lambda connection: repository.predictions(connection, job.id)) if job.state == "done" else []

    def cancel(self, job: Job, subject: str) -> Job:
        """Cancel the caller's job and return its new state.

        Raises
        ------
        JobFinishedError
            If it had already finished.
        """
        after = self._run(lambda connection: repository.cancel(connection, job.id, subject)) or job
        if after.state != "cancelled":
            raise JobFinishedError(str(job.id), after.state)
        return after

    def _run(self, query: Callable[[Connection], T]) -> T:
        if self._executor is None:
            raise JobsUnavailableError("no database is configured")
        try:
            return self._executor.run(lambda connection: _in_transaction(connection, query))
        except DatabaseUnavailableError as error:
            raise JobsUnavailableError("the database does not respond") from error
        except (IntegrityError, ProgrammingError) as error:
            raise _unavailable(error) from error


def _in_transaction(connection: Connection, query: Callable[[Connection], T]) -> T:
    with connection.begin():
        return query(connection)


def _unavailable(error: IntegrityError | ProgrammingError) -> JobsUnavailableError:
    """Return what is wrong with the set-up of the database; any other error is raised again."""
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501":
        return JobsUnavailableError(
            "the role of SLUICE_DATABASE_URL has no permission to write them: grant it sluice_worker"
        )
    if state == "42P01":
        return JobsUnavailableError("the database has no tables for them: run `sluice migrate`")
    if state == "23503":
        return JobsUnavailableError(
            "the pinned version is not registered in the ledger; only registered versions accept jobs"
        )
    raise error
