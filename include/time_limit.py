"""A limit on the time of a piece of work that cannot be interrupted otherwise.

A thread cannot be stopped, and a signal waits for C code that does not return. So the work runs in a forked process,
which is killed at the limit, and its result comes back through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar, cast

from include.errors import TimeLimitError, WorkerDiedError
from include.processes import parent_death_signal

Request = TypeVar("Request")
Result = TypeVar("Result")

_SECONDS_TO_EXIT = 5.0


class LimitedProcess(Generic[Request, Result]):
    """A forked process that does one piece of work after the other, until it is stopped at the limit of one of them.

    What `work` changes stays in its process: only its results come back. It has one thread of OpenMP and BLAS, because
    a fork of a process that has used them may not use its threads. The process ends with the context.

    Parameters
    ----------
    work : callable
        Takes a request and returns its result. It need not be picklable; requests, results and exceptions must be.
    name : str
    """

    def __init__(self, work: Callable[[Request], Result], name: str) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(work, theirs, self._connection, os.getpid()), name=f"limited: {name}", daemon=False
        )
        with warnings.catch_warnings():
            # Python warns of a fork with threads. The child touches no lock of another thread: it calls `work` alone.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def __enter__(self) -> LimitedProcess[Request, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()

    def start(self, request: Request) -> None:
        """Let the process begin with `request`."""
        try:
            self._connection.send(request)
        except OSError:  # it has died: `result` says so
            return

    def result(self, *, seconds: float, step: str) -> Result:
        """Return the result of the request that was started, or raise what `work` raised.

        Parameters
        ----------
        seconds : float
            Wall-clock time from now on.
        step : str
            What the work is, for the error: "conversion of quantile (QuantileTransformer)".

        Raises
        ------
        TimeLimitError
            When there is none in time. The process is of no use afterwards.
        WorkerDiedError
            When the process ended without a result.
        Exception
            What `work` raises; one that cannot be pickled becomes a RuntimeError with its type and message.
        """
        try:
            if not self._connection.poll(seconds):
                raise TimeLimitError(step, seconds)
            content = self._connection.recv_bytes()
        except (EOFError, ConnectionError):
            self._process.join(_SECONDS_TO_EXIT)
            raise WorkerDiedError(step, self._process.exitcode) from None
        succeeded, result = pickle.loads(content)  # noqa: S301  # bytes of our own child
        if not succeeded:
            raise result
        return cast("Result", result)


def run_with_time_limit(work: Callable[[], Result], *, seconds: float, step: str) -> Result:
    """Return what `work` returns, or stop it after `seconds`; see `LimitedProcess`.

    Raises
    ------
    TimeLimitError
        When `work` was stopped.
    WorkerDiedError
        When its process ended without a result.
    Exception
        What `work` raises.
    """
    with LimitedProcess[None, Result](lambda _: work(), step) as process:
        process.start(None)
        return process.result(seconds=seconds, step=step)


def _serve(work: Callable[[Any], object], connection: Connection, theirs: Connection, parent: int) -> None:
    theirs.close()
    # Airflow's and the command line's handlers are the parent's: a signal to the group just ends the child.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if (end_with_parent := parent_death_signal(parent)) is not None:
        end_with_parent()
    while True:
        try:
            request = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send_bytes(_outcome(work, request))


def _outcome(work: Callable[[Any], object], request: object) -> bytes:
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):
            return pickle.dumps((True, work(request)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  # the parent raises it again
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    try:
        content = pickle.dumps((False, error))
        pickle.loads(content)  # noqa: S301  # many exceptions pickle and cannot be read back
    except Exception:  # noqa: BLE001  # whatever its class does when it is pickled
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return content
