"""Runs the database queries of requests, with a timeout and a circuit breaker.

A request that waits for the database keeps a place that a prediction could have. Therefore the timeout is enforced in
this process: a thread of the executor runs the query, and the request stops waiting when the timeout has passed,
whether the server is down, frozen or unreachable (a driver's own timeouts cover only some of these cases, and none
below two seconds). After several failures in a row the circuit breaker opens. While it is open no request waits at
all: the executor's own threads probe the database until it responds.

Only failures of the database count: it cannot be reached, or does not respond to a query for a whole timeout. A
request that waited in vain for a thread, a query that the server itself cancelled, a lock that others held, or what
Python does with the rows are reported to the client and say nothing about the database: one caller with many or slow
queries must not open the circuit for all.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from include.registry import Ledger
from model_service.db.circuit_breaker import CircuitBreaker, Permit
from model_service.http.errors import LedgerUnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")
Task = Callable[[], None]

# A query that took this share of the timeout was not kept from running by others: the database did not respond to it.
_WHOLE_TIMEOUT: Final = 0.8
# SQLSTATEs with which a server that is well ends a query: cancelled (its statement timeout), lock not available,
# serialization failure and deadlock.
_RESPONSES: Final = frozenset({"57014", "55P03", "40001", "40P01"})


class DatabaseUnavailableError(Exception):
    """The database did not respond in time, or the circuit is open because it did not before."""

    def __init__(self, reason: str = "the database does not respond") -> None:
        super().__init__(reason)


class DatabaseBusyError(DatabaseUnavailableError):
    """The query was not run, or not to its end, although the database responds: there were too many, or it was slow."""

    def __init__(self, reason: str = "too many queries are waiting for it") -> None:
        super().__init__(reason)


class QueryExecutor:
    """Runs queries on behalf of requests.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        With a pool of at least `threads` connections.
    timeout : float
        Seconds after which a request stops waiting.
    ledger_engine : sqlalchemy.Engine, optional
        For the ledger of `run_with_ledger`.
    breaker : CircuitBreaker, optional
    threads : int
        Maximum number of concurrent queries.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        timeout: float,
        ledger_engine: Engine | None = None,
        breaker: CircuitBreaker | None = None,
        threads: int = 4,
    ) -> None:
        self._engine = engine
        self._timeout = timeout
        self._ledger = None if ledger_engine is None else Ledger(ledger_engine)
        self._breaker = breaker or CircuitBreaker()
        self._threads = threads
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._start_lock = threading.Lock()
        self._started = False
        # By thread that waits for the database: since when. Each entry is written by its own thread, under the GIL.
        self._waiting: dict[int, float] = {}
        self._members: set[int] = set()
        for each in {engine, ledger_engine or engine}:
            event.listen(each, "before_cursor_execute", self._on_statement)
            event.listen(each, "after_cursor_execute", self._on_response)

    @property
    def breaker(self) -> CircuitBreaker:
        """The circuit breaker, which decides whether queries are run."""
        return self._breaker

    def run(self, query: Callable[[Connection], T]) -> T:
        """Return the result of `query`, which gets a connection.

        Raises
        ------
        DatabaseUnavailableError
            Immediately while the circuit is open, or if the database did not respond within the timeout.
        DatabaseBusyError
            If the database responds, but too many queries were running, or this one took too long.
        """
        return self._run(lambda: self._connected(query))

    def run_with_ledger(self, query: Callable[[Ledger], T]) -> T:
        """Return the result of `query`, which gets the ledger.

        Raises
        ------
        LedgerUnavailableError
            If the database did not respond within the timeout, or there is no ledger.
        """
        ledger = self._ledger
        if ledger is None:
            raise LedgerUnavailableError
        try:
            return self._run(lambda: query(ledger))
        except DatabaseUnavailableError as error:
            raise LedgerUnavailableError(str(error)) from error

    def _run(self, work: Callable[[], T]) -> T:
        permit = self._breaker.acquire()
        if permit is Permit.REJECT:
            raise DatabaseUnavailableError
        if permit is Permit.PROBE:  # probe the database without letting this request wait for it
            if self._tasks.qsize() < self._threads:  # otherwise earlier probes are still waiting for a thread
                self._submit(self._probe)
            raise DatabaseUnavailableError
        future: Future[T] = self._submit(work)
        try:
            result = future.result(self._timeout)
        except FutureTimeoutError as error:
            future.cancel()
            raise self._unanswered() from error
        except PoolTimeoutError as error:
            raise self._unanswered() from error
        except Exception as error:
            unavailable = self._judge(error)
            if unavailable is None:
                raise
            raise unavailable from error
        self._breaker.record_success()
        return result

    def _unanswered(self) -> DatabaseUnavailableError:
        """Return the error of a request that waited in vain, and record whether the database is to blame."""
        now = time.monotonic()
        longest = now - min(tuple(self._waiting.values()), default=now)
        if longest < _WHOLE_TIMEOUT * self._timeout:
            return DatabaseBusyError()
        self._record_failure("no response in time")
        return DatabaseUnavailableError()

    def _judge(self, error: Exception) -> DatabaseUnavailableError | None:
        """Record what `error` says of the database; return the request's error, or None if it is `error` itself."""
        if is_failure(error):
            self._record_failure(str(error).splitlines()[0])
            return DatabaseUnavailableError()
        self._breaker.record_success()  # the database responded, with an error
        if isinstance(error, OperationalError):
            return DatabaseBusyError("the query took too long, or waited too long for others")
        return None

    def _connected(self, query: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection)

    def _probe(self) -> None:
        try:
            self._connected(lambda connection: connection.execute(text("SELECT 1")))
        except Exception as error:
            if is_failure(error) or isinstance(error, OperationalError | PoolTimeoutError):
                self._breaker.record_failure()
                return
            raise
        self._breaker.record_success()
        log.info("the database responds again")

    def _record_failure(self, reason: str) -> None:
        self._breaker.record_failure()
        log.warning("a database query of a request failed (circuit %s): %s", self._breaker.state, reason)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def task() -> None:
            if future.set_running_or_notify_cancel():
                self._on_statement()  # connecting, first of all
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  # raised again by `Future.result`
                    future.set_exception(error)
                finally:
                    self._on_response()

        self._start()
        self._tasks.put(task)
        return future

    def _start(self) -> None:
        """Start the threads with the first query: before it, the process may still fork."""
        if self._started:
            return
        with self._start_lock:
            if not self._started:
                for number in range(self._threads):
                    # Daemons: a thread that hangs on a frozen server must not prevent the process from ending.
                    threading.Thread(target=self._serve, name=f"query-executor-{number}", daemon=True).start()
                self._started = True

    def _on_statement(self, *_: object) -> None:
        if (thread := threading.get_ident()) in self._members:
            self._waiting[thread] = time.monotonic()

    def _on_response(self, *_: object) -> None:
        self._waiting.pop(threading.get_ident(), None)

    def _serve(self) -> None:
        self._members.add(threading.get_ident())
        while True:
            self._tasks.get()()


def is_failure(error: BaseException) -> bool:
    """Return whether `error` means that the database is down, failing, or disconnected."""
    if isinstance(error, OperationalError | InterfaceError):
        return getattr(error.orig, "sqlstate", None) not in _RESPONSES
    return isinstance(error, DBAPIError) and error.connection_invalidated
