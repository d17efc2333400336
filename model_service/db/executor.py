"""The one executor through which requests ask the database: nobody waits long at it, and it shuts itself.

A worker answers one request at a time, so a request that waits for the database holds up predictions
that need none. Hence the bound on waiting is kept here, in this process: a query is asked by a
thread of the executor's, and the request leaves when its timeout ends, whether the server is down,
frozen or unreachable (a driver's own timeout covers only some of these, and none below two seconds).
After some failures in a row a breaker shuts the executor. While it is shut no request waits at all: the
trials that open it again are made by the executor's own thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from model_service.db.circuit_breaker import CircuitBreaker, Permit

log = logging.getLogger(__name__)

T = TypeVar("T")
Task = Callable[[], None]


class DatabaseUnavailableError(Exception):
    """The database did not answer in time, or is left alone because it did not before."""


class QueryExecutor:
    """Asks the database on behalf of requests.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        With a pool of at least `threads` connections.
    timeout : float
        Seconds after which a request leaves without an answer.
    breaker : CircuitBreaker, optional
    threads : int
        How many questions may be asked at once.
    """

    def __init__(
        self, engine: Engine, *, timeout: float, breaker: CircuitBreaker | None = None, threads: int = 4
    ) -> None:
        self._engine = engine
        self._timeout = timeout
        self._breaker = breaker or CircuitBreaker()
        self._threads = threads
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._opening = threading.Lock()
        self._open = False

    @property
    def breaker(self) -> CircuitBreaker:
        """What says whether the database is asked at all."""
        return self._breaker

    def run(self, query: Callable[[Connection], T]) -> T:
        """Return what `query` made of a connection, within the executor's timeout.

        Raises
        ------
        DatabaseUnavailableError
            At once while the breaker is open, or when the database did not answer in time.
        """
        may = self._breaker.acquire()
        if may is Permit.REJECT:
            raise DatabaseUnavailableError
        if may is Permit.PROBE:  # somebody has to try, but no request has to wait for it
            self._submit(self._try)
            raise DatabaseUnavailableError
        answer: Future[T] = self._submit(lambda: self._answer(query))
        try:
            found = answer.result(self._timeout)
        except FutureTimeoutError as error:
            answer.cancel()
            self._note_failure("no answer in time")
            raise DatabaseUnavailableError from error
        except Exception as error:
            if not is_unreachable(error):
                self._breaker.record_success()  # an answer, if not a welcome one
                raise
            self._note_failure(str(error).splitlines()[0])
            raise DatabaseUnavailableError from error
        self._breaker.record_success()
        return found

    def _answer(self, query: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection)

    def _try(self) -> None:
        try:
            self._answer(lambda connection: connection.execute(text("SELECT 1")))
        except Exception as error:
            if is_unreachable(error):
                self._breaker.record_failure()
                return
            raise
        self._breaker.record_success()
        log.info("the database answers again")

    def _note_failure(self, reason: str) -> None:
        self._breaker.record_failure()
        log.warning("the database did not answer a request (circuit %s): %s", self._breaker.state, reason)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def task() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
                    future.set_exception(error)

        self._start()
        self._tasks.put(task)
        return future

    def _start(self) -> None:
        """Start the threads with the first query: before, the process may still fork."""
        if self._open:
            return
        with self._opening:
            if not self._open:
                for number in range(self._threads):
                    # Daemons: one that hangs on a frozen server must not keep the process from ending.
                    threading.Thread(target=self._serve, name=f"query-executor-{number}", daemon=True).start()
                self._open = True

    def _serve(self) -> None:
        while True:
            self._tasks.get()()


def is_unreachable(error: BaseException) -> bool:
    """Whether `error` says that the database is down, too slow, or went away."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
