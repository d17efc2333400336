"""The thread that works jobs off, one in each worker process, beside the thread that answers requests."""

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
from model_service.jobs import repository as store
from model_service.jobs.chunks import predict_chunk
from model_service.jobs.repository import ClaimedJob, JobChunk, JobFilter
from model_service.models.registry import LoadedModel
from model_service.server.log_unexpected import log_unexpected

T = TypeVar("T")

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 60.0
MAX_BACKOFF_SECONDS: Final = 5.0
STOP_SECONDS: Final = 2.0


class JobWorker:
    """Takes jobs from the database and works them off.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        With the right to write jobs.
    load : callable
        Returns the version of a model that a job is bound to.
    job_filter : callable
        Returns whose jobs may be taken now: other workers on the same database may serve other models.
    lease_seconds : float
        After how long without a finished chunk another worker may take a job.
    poll_seconds : float
        How often is looked for jobs that others submitted.
    values : bool
        Whether a failed job tells the values that were refused.
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
        self._next_sweep = 0.0

    def start(self) -> None:
        """Work in a thread of its own. Call it in the worker: a thread does not survive a fork."""
        self._thread = threading.Thread(target=self._work, name="job-worker", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Have it look for a job now."""
        self._wakeup.set()

    def stop(self) -> None:
        """Have it give back what it works on, and end; wait a little for it."""
        self._stopping = True
        self._wakeup.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def run_once(self) -> bool:
        """Work one job off, if there is one; return whether there was."""
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            while removed := self._ask(store.remove_expired):
                log.info("%s expired job(s) were removed", removed)
        job = self._ask(lambda connection: store.claim(connection, self._job_filter(), self._lease_seconds))
        if job is None:
            return False
        self._work_off(job)
        return True

    def _work(self) -> None:
        pause = self._poll_seconds
        while not self._stopping:
            try:
                busy = self.run_once()
                pause = self._poll_seconds
            except SQLAlchemyError as error:
                if pause == self._poll_seconds:
                    log.warning("jobs wait: the database does not answer: %s", str(error).splitlines()[0])
                busy, pause = False, min(pause * 2, MAX_BACKOFF_SECONDS)
            except Exception as error:  # noqa: BLE001  # the thread must outlive whatever goes wrong with one job
                log_unexpected(log, "a job was left; another attempt is made when its lease has run out", error)
                busy = False
            if not busy:
                self._wakeup.wait(pause)
                self._wakeup.clear()

    def _work_off(self, job: ClaimedJob) -> None:
        if job.attempt > store.MAX_ATTEMPTS:
            self._fail(job, f"given up after {store.MAX_ATTEMPTS} attempts: each time its worker ended before it did")
            return
        try:
            self._answer(job, self._load(job))
        except (LedgerUnavailableError, UnknownModelError):  # the model's declaration went away after the job was taken
            self._ask(lambda connection: store.release(connection, job))
        except RowsRejectedError as error:
            detail = (
                f"{len(error.faults)} value(s) are not what the model takes; see errors. Mend them and submit again."
            )
            self._fail(job, detail, errors=render_errors(error.faults, values=self._values))
        except SluiceError as error:
            self._fail(job, str(error))

    def _answer(self, job: ClaimedJob, loaded: LoadedModel) -> None:
        if loaded.artifact_digest != job.artifact_digest:
            detail = (
                f"expected the artifact {job.artifact_digest}, to which the job was bound as version {job.version} of "
                f"'{job.model}'; found {loaded.artifact_digest} under that number, so nothing was answered. "
                "Submit it again: the version that answers then is bound to it."
            )
            self._fail(job, detail)
            return
        while (chunk := self._ask(lambda connection: store.next_chunk(connection, job))) is not None:
            if self._stopping:
                self._ask(lambda connection: store.release(connection, job))
                return
            started = time.thread_time()
            answers = predict_chunk(loaded, chunk)
            busy = time.thread_time() - started
            if not self._finish(job, chunk, answers):
                return  # cancelled, or taken by another
            time.sleep(busy)  # half of the interpreter's time is left to those who wait for an answer
        self._ask(lambda connection: store.finish(connection, job))

    def _finish(self, job: ClaimedJob, chunk: JobChunk, answers: bytes) -> bool:
        return self._ask(lambda connection: store.finish_chunk(connection, job, chunk, answers, self._lease_seconds))

    def _fail(self, job: ClaimedJob, detail: str, **more: Any) -> None:
        log.info("job %s failed: %s", job.id, detail)
        self._ask(lambda connection: store.fail(connection, job, {"detail": detail, **more}))

    def _ask(self, query: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return query(connection)
