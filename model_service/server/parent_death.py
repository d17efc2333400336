"""How a worker learns that it is to end, also when a signal gets lost or the main process is killed."""

from __future__ import annotations

import os
import signal
import threading
import time


class ParentDeathPipe:
    """A pipe that the main process holds open as long as the workers shall live.

    Granian tells its workers to stop by one signal each. A worker that is still starting can lose it:
    before granian has set the worker's handlers those of the main process are in force, and until it
    listens to its own it forgets what they caught. And no signal comes when the main process is
    killed: its workers would then keep the port. A pipe that is cut stays cut.

    Make it in the main process, before the workers are forked.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self._write: int | None = write
        os.register_at_fork(after_in_child=self._forked)

    @property
    def is_closed(self) -> bool:
        """Whether this process has told its workers to end."""
        return self._write is None

    def close(self) -> None:
        """Tell all workers to end. The death of the main process does the same."""
        if self._write is not None:
            os.close(self._write)
            self._write = None

    def watch(self) -> None:
        """In a worker: have a thread end this process when the line is cut."""
        threading.Thread(target=self._end_when_cut, name="parent_death", daemon=True).start()

    def _forked(self) -> None:
        self.close()  # this process's copy only
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, _exit_at_once)

    def _end_when_cut(self) -> None:
        os.read(self._read, 1)
        while True:  # until the worker heeds it
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)


def _exit_at_once(*_: object) -> None:
    raise SystemExit(0)
