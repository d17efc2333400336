"""Each worker on a core of its own, where there are at least as many workers as cores.

A worker's threads take turns at the interpreter's lock, and a prediction gives it away twice. Where the kernel puts the
threads on different cores, each turn wakes another core, and its caches come along: at 64 connections that costs
up to a third of all answers. See docs/decisions/0013.

Source: https://docs.python.org/3/library/os.html#os.sched_setaffinity
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from contextlib import suppress

log = logging.getLogger(__name__)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class CpuPinner:
    """The cores that this process may use, shared out among its workers.

    Make it in the main process, before the workers are forked. The places are record locks on a file
    in memory: the kernel takes a worker's back when it dies, and its successor finds it free.

    Parameters
    ----------
    workers : int
        How many workers there will be. With fewer than cores, none is bound: the others' cores would lie idle.
    """

    def __init__(self, workers: int) -> None:
        self._places: list[int] = []
        if sys.platform == "linux" and usable_cores() <= workers:  # elsewhere the kernel takes no such orders
            cores = sorted(os.sched_getaffinity(0))
            self._places = [cores[place % len(cores)] for place in range(workers)]
            self._file = os.memfd_create("sluice-cores")  # open as long as the process lives

    def pin(self) -> int | None:
        """In a worker, before it starts threads: take a core that no other has, and stay on it.

        Returns
        -------
        int or None
            The core's number; None when the workers are not bound to any.
        """
        for place, core in enumerate(self._places):
            with suppress(BlockingIOError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                try:
                    os.sched_setaffinity(0, {core})
                except OSError as error:  # the machine's owner took the core away meanwhile
                    log.warning("cannot stay on core %d (%s): the kernel chooses", core, error.strerror)
                    return None
                return core
        return None
