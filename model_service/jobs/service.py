"""Where requests hand jobs in and come back for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, ProgrammingError

from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.http.errors import JobFinishedError, JobNotFoundError, JobsUnavailableError, TooManyJobsError
from model_service.jobs import repository as store
from model_service.jobs.repository import Job, JobChunk
from model_service.models.registry import LoadedModel

T = TypeVar("T")


class JobService:
    """Jobs, as those who submit them see them: each sees their own.

    Parameters
    ----------
    executor : QueryExecutor or None
        To a database where jobs may be written.
    hours : float
        How long a job is kept.
    most : int
        How many may wait or run.

    All methods raise `JobsUnavailableError` when the database does not answer or does not let us write.
    """

    def __init__(self, executor: QueryExecutor | None, *, hours: float, most: int) -> None:
        self._executor, self._hours, self._most = executor, hours, most

    def submit(self, loaded: LoadedModel, chunks: Sequence[JobChunk], subject: str) -> Job:
        """Store a job that `loaded` is to answer.

        Raises
        ------
        TooManyJobsError
            If as many wait or run as may.
        """
        about = {
            "id": uuid.uuid4(),
            "model": loaded.model,
            "version": loaded.version,
            "artifact_digest": loaded.artifact_digest,
            "subject": subject,
        }
        job = self._ask(lambda connection: store.submit(connection, about, chunks, hours=self._hours, most=self._most))
        if job is None:
            raise TooManyJobsError(self._most)
        return job

    def find(self, job: str, subject: str) -> Job:
        """Return the subject's job of this id.

        Raises
        ------
        JobNotFoundError
            If there is none: another's is as unknown as one that never was.
        """
        try:
            number = uuid.UUID(job)
        except ValueError:
            raise JobNotFoundError(job) from None
        found = self._ask(lambda connection: store.find(connection, number, subject))
        if found is None:
            raise JobNotFoundError(job)
        return found

    def answers(self, job: Job) -> list[bytes]:
        """Return the answers of a job that is done, chunk by chunk, each a JSON list; none before."""
        return self._ask(lambda connection: store.answers(connection, job.id)) if job.state == "done" else []

    def cancel(self, job: Job, subject: str) -> Job:
        """Cancel the subject's job, and return it as it then is.

        Raises
        ------
        JobFinishedError
            If it was over before.
        """
        after = self._ask(lambda connection: store.cancel(connection, job.id, subject)) or job
        if after.state != "cancelled":
            raise JobFinishedError(str(job.id), after.state)
        return after

    def _ask(self, query: Callable[[Connection], T]) -> T:
        if self._executor is None:
            raise JobsUnavailableError("no database is configured")
        try:
            return self._executor.run(lambda connection: _in_transaction(connection, query))
        except DatabaseUnavailableError as error:
            raise JobsUnavailableError("the database does not answer") from error
        except (IntegrityError, ProgrammingError) as error:
            raise _unavailable(error) from error


def _in_transaction(connection: Connection, query: Callable[[Connection], T]) -> T:
    with connection.begin():
        return query(connection)


def _unavailable(error: IntegrityError | ProgrammingError) -> JobsUnavailableError:
    """Return what is wrong with the database's set-up; anything else is a fault of ours."""
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501":
        return JobsUnavailableError("the role of SLUICE_DATABASE_URL may not write them: make it a sluice_worker")
    if state == "42P01":
        return JobsUnavailableError("the database lacks their tables: run `sluice migrate`")
    if state == "23503":
        return JobsUnavailableError(
            "the pinned version is not registered in the ledger; only registered ones take jobs"
        )
    raise error
