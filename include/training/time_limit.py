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
from typing import Any, TypeVar, cast

from include.errors import TimeLimitError, WorkerDiedError
from include.processes import parent_death_signal

Result = TypeVar("Result")

_SECONDS_TO_EXIT = 5.0


def run_with_time_limit(work: Callable[[], Result], *, seconds: float, step: str) -> Result:
    """Return what `work` returns, or stop it after `seconds`.

    What `work` changes stays in its process: only its result comes back. It has one thread of OpenMP and BLAS, because
    a fork of a process that has used them may not use its threads.

    Parameters
    ----------
    work : callable
        Takes nothing. It need not be picklable; its result, or its exception, must be.
    seconds : float
        Wall-clock time.
    step : str
        What the work is, for the error: "conversion of quantile (QuantileTransformer)".

    Raises
    ------
    TimeLimitError
        When `work` was stopped.
    WorkerDiedError
        When its process ended without a result.
    Exception
        What `work` raises; one that cannot be pickled becomes a RuntimeError with its type and message.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(work, receiver, sender, os.getpid()), name=f"limited: {step}", daemon=False
    )
    with warnings.catch_warnings():
        # Python warns of a fork with threads. The child touches no lock of another thread: it calls `work` alone.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeLimitError(step, seconds)
        content = receiver.recv_bytes()
    except EOFError:
        process.join(_SECONDS_TO_EXIT)
        raise WorkerDiedError(step, process.exitcode) from None
    finally:
        receiver.close()
        _end(process)
    succeeded, result = pickle.loads(content)  # noqa: S301  # bytes of our own child
    if not succeeded:
        raise result
    return cast("Result", result)


def _run(work: Callable[[], object], receiver: Connection, sender: Connection, parent: int) -> None:
    receiver.close()
    # Airflow's and the command line's handlers are the parent's: a signal to the group just ends the child.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if (end_with_parent := parent_death_signal(parent)) is not None:
        end_with_parent()
    sender.send_bytes(_outcome(work))
    sender.close()


def _outcome(work: Callable[[], object]) -> bytes:
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):
            return pickle.dumps((True, work()), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  # the parent raises it again
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    try:
        content = pickle.dumps((False, error))
        pickle.loads(content)  # noqa: S301  # many exceptions pickle and cannot be read back
    except Exception:  # noqa: BLE001  # whatever its class does when it is pickled
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return content


def _end(process: Any) -> None:
    process.join(0)
    if process.is_alive():
        process.kill()
    process.join()
    process.close()
