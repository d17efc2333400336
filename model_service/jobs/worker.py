"""The thread that processes jobs, one in each worker process, beside the threads that answer requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from include.errors import RowsRejectedError, SluiceError, UnknownModelError
from include.inference.field_errors import render_errors
from model_service.http.errors import LedgerUnavailableError
from model_service.jobs import repository
from model_service.jobs.chunks import predict_chunk
from model_service.jobs.repository import ClaimedJob, JobChunk, JobFilter
from model_service.models.registry import LoadedModel
from model_service.server.backoff import Backoff
from model_service.server.log_unexpected import log_unexpected

T = TypeVar("T")

log = logging.getLogger(__name__)

REMOVE_BATCHES: Final = 20
MAX_BACKOFF_SECONDS: Final = 5.0
STOP_SECONDS: Final = 2.0


class JobWorker:
    """Claims jobs in the database and processes them.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        With permission to write jobs.
    load : callable
        Returns the version that a job is bound to.
    job_filter : callable
        Returns which jobs can be claimed now: other workers on the same database may serve other models.
    lease_seconds : float
        Seconds without a finished chunk after which another worker may claim the job.
    poll_seconds : float
        Interval between polls for jobs that other processes submitted.
    values : bool
        Whether the error of a failed job includes rejected values.
    """

    def __init__(
        self,
        engine: Engine,
        load: Callable[[ClaimedJob], LoadedModel],
        job_filter: Callable[[], JobFilter],
        *,
        lease_seconds: float,
        poll_seconds: float = 0.5,
        values: bool = False,
    ) -> None:
        self._engine = engine
        self._load = load
        self._job_filter = job_filter
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._values = values
        self._wakeup = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._next_removal = 0.0

    def start(self) -> None:
        """Process jobs in a new thread. Call it in the worker: threads do not survive a fork."""
        self._thread = threading.Thread(target=self._work, name="job-worker", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Look for a job immediately."""
        self._wakeup.set()

    def stop(self) -> None:
        """Return the current job to the queue and end the thread; wait for it, at most `STOP_SECONDS`."""
        self._stopping = True
        self._wakeup.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def run_once(self) -> bool:
        """Process one job, if there is one; return whether there was."""
        if time.monotonic() >= self._next_removal:
            self._remove_expired()
        job = self._run(lambda connection: repository.claim(connection, self._job_filter(), self._lease_seconds))
        if job is None:
            return False
        self._process(job)
        return True

    def _remove_expired(self) -> None:
        """Remove expired jobs in small transactions; what is left after some of them, after the next job."""
        for _ in range(REMOVE_BATCHES):
            if not self._run(repository.remove_expired):
                self._next_removal = time.monotonic() + repository.REMOVE_EXPIRED_SECONDS
                return

    def _work(self) -> None:
        pause = self._poll_seconds
        backoff = Backoff(2 * self._poll_seconds, MAX_BACKOFF_SECONDS)
        while not self._stopping:
            try:
                busy = self.run_once()
                pause = self._poll_seconds
                backoff.succeeded()
            except SQLAlchemyError as error:
                if not backoff.failing:
                    log.warning("jobs are delayed: the database does not respond: %s", str(error).splitlines()[0])
                busy, pause = False, backoff.failed()
            except Exception as error:  # noqa: BLE001  # the thread must survive any failure of one job
                log_unexpected(log, "processing a job failed; it is retried when its lease has expired", error)
                busy = False
            if not busy:
                self._wakeup.wait(pause)
                self._wakeup.clear()

    def _process(self, job: ClaimedJob) -> None:
        if job.attempt > repository.MAX_ATTEMPTS:
            self._fail(job, f"given up after {repository.MAX_ATTEMPTS} attempts: the worker died in each of them")
            return
        try:
            self._predict(job, self._load(job))
        except (LedgerUnavailableError, UnknownModelError):  # the model was undeclared after the job was claimed
            self._run(lambda connection: repository.release(connection, job))
        except RowsRejectedError as error:
            detail = (
                f"{len(error.faults)} value(s) do not match the model's signature; see errors. "
                "Correct them and submit the job again."
            )
            self._fail(job, detail, errors=render_errors(error.faults, values=self._values))
        except SluiceError as error:
            self._fail(job, str(error))

    def _predict(self, job: ClaimedJob, loaded: LoadedModel) -> None:
        if loaded.artifact_digest != job.artifact_digest:
            detail = (
                f"expected the artifact {job.artifact_digest}, to which the job was bound as version {job.version} of "
                f"'{job.model}'; found {loaded.artifact_digest} under this number. Nothing was predicted. "
                "Submit the job again: it is then bound to the current version."
            )
            self._fail(job, detail)
            return
        while (chunk := self._run(lambda connection: repository.next_chunk(connection, job))) is not None:
            if self._stopping:
                self._run(lambda connection: repository.release(connection, job))
                return
            started = time.thread_time()
            predictions = predict_chunk(loaded, chunk)
            busy = time.thread_time() - started
            if not self._finish(job, chunk, predictions):
                return  # deleted, or claimed by another worker
            time.sleep(busy)  # leaves half of the interpreter's time to requests
        self._run(lambda connection: repository.finish(connection, job))

    def _finish(self, job: ClaimedJob, chunk: JobChunk, predictions: bytes) -> bool:
        return self._run(
            lambda connection: repository.finish_chunk(connection, job, chunk, predictions, self._lease_seconds)
        )

    def _fail(self, job: ClaimedJob, detail: str, **members: Any) -> None:
        log.info("job %s failed: %s", job.id, detail)
        self._run(lambda connection: repository.fail(connection, job, {"detail": detail, **members}))

    def _run(self, query: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return query(connection)
