"""Ends workers with the main process, even if a signal is lost or the main process is killed."""

from __future__ import annotations

import os
import signal
import threading
import time


class ParentDeathPipe:
    """A pipe that the main process keeps open while the workers are to run.

    Granian stops its workers with one signal each. A worker that is still starting can lose it: the handlers of the
    main process are in force until granian sets the worker's, and signals that they caught are forgotten. And there is
    no signal if the main process is killed: its workers would keep the port. A closed pipe stays closed.

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

    def watch(self) -> None:
        """In a worker: start a thread that ends this process when the pipe is closed."""
        threading.Thread(target=self._end_when_closed, name="parent-death", daemon=True).start()

    def _after_fork(self) -> None:
        self.close()  # this process's copy only
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, _exit)

    def _end_when_closed(self) -> None:
        os.read(self._read, 1)
        while True:  # until the worker reacts
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)


def _exit(*_: object) -> None:
    raise SystemExit(0)
