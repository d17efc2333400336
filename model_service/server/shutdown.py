"""Ends the workers with the main process: after SIGTERM or SIGINT, or if the main process is killed.

Python runs the handler of a signal in the main thread only, when that thread is interrupted. If two signals arrive
together, as when a whole process group is told to stop, the kernel can give both to another thread: the main thread
sleeps on, and the signals are lost. Granian's own handlers have a second fault: the third signal waits for a queue
that nobody reads any more, and holds the GIL meanwhile. Therefore no handler does anything here. Python's wake-up
descriptor receives every signal, whatever thread it interrupts, and a thread reads it.

Source: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_REPEAT_SECONDS: Final = 0.1


class ParentDeathPipe:
    """A pipe that the main process keeps open while the workers are to run.

    Granian stops its workers with one signal each, and there is none if the main process is killed: its workers would
    keep the port. A closed pipe stays closed, so this message cannot be lost.

    Create it in the main process, before the workers are forked.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self._write: int | None = write
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def is_closed(self) -> bool:
        """Whether this process has told its workers to end."""
        return self._write is None

    def close(self) -> None:
        """Tell all workers to end. The death of the main process has the same effect."""
        if self._write is not None:
            os.close(self._write)
            self._write = None

    def fileno(self) -> int:
        """Return the descriptor that can be read at its end once the pipe is closed."""
        return self._read

    def _after_fork(self) -> None:
        self.close()  # this process's copy only
        signal.set_wakeup_fd(-1)  # the main process's


class WorkerShutdown:
    """Stops a worker once, when its first SIGTERM or SIGINT arrives or the main process ends.

    Create it in the worker, in its main thread, and before the application.

    Parameters
    ----------
    parent_death : ParentDeathPipe
    """

    def __init__(self, parent_death: ParentDeathPipe) -> None:
        self._parent_death = parent_death
        self._stop: Callable[[], object] | None = None
        self._signals = _signal_pipe()
        threading.Thread(target=self._wait, name="shutdown", daemon=True).start()

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """Call `stop` when the worker is told to stop, which lets it finish its requests.

        Until this call, a worker that is told to stop simply ends: it serves nothing yet.
        """
        self._stop = stop

    def _wait(self) -> None:
        told = False
        while not told:
            ready, _, _ = select.select([self._signals, self._parent_death.fileno()], [], [])
            told = self._parent_death.fileno() in ready or _stop_among(os.read(self._signals, 64))
        if self._stop is None:
            # Not by an exception in the main thread: that could leave anything half done, and others can follow it.
            os._exit(0)
        self._stop()


def on_stop_signal(stop: Callable[[], object]) -> None:
    """In the main process, in its main thread: from now on, call `stop` in another thread after SIGTERM or SIGINT.

    It is called again and again until the process ends: granian forgets a stop that coincides with the death of a
    worker.
    """
    signals = _signal_pipe()
    for each in _SIGNALS:
        signal.signal(each, _do_nothing)

    def wait() -> None:
        while not _stop_among(os.read(signals, 64)):
            pass
        while True:
            stop()
            time.sleep(_REPEAT_SECONDS)

    threading.Thread(target=wait, name="shutdown", daemon=True).start()


def _signal_pipe() -> int:
    """Return a descriptor from which the numbers of this process's signals can be read, a byte each."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _stop_among(numbers: bytes) -> bool:
    return any(each in numbers for each in _SIGNALS)


def _do_nothing(*_: object) -> None:
    pass
