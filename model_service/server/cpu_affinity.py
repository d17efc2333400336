"""Pins each worker to a core, if there are at least as many workers as cores.

The threads of a worker take turns at the GIL, and a prediction releases it twice. If the kernel runs the threads on
different cores, each turn wakes another core and moves its caches: with 64 connections that costs up to a third of the
throughput. See docs/decisions/0013.

Source: https://docs.python.org/3/library/os.html#os.sched_setaffinity
"""

from __future__ import annotations

import logging
import os
import sys

from model_service.server.memory_file import claim_place, open_memory_file

log = logging.getLogger(__name__)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class CpuPinner:
    """Distributes the cores that this process may use among its workers.

    Create it in the main process, before the workers are forked. Each worker holds its core by a record lock on a file
    in memory: when a worker dies, the kernel releases the lock, and its successor gets the core.

    Parameters
    ----------
    workers : int
        Number of workers. If there are fewer workers than cores, none is pinned: the other cores would be idle.
    """

    def __init__(self, workers: int) -> None:
        self._cores: list[int] = []
        if sys.platform == "linux" and usable_cores() <= workers:  # other systems have no such call
            cores = sorted(os.sched_getaffinity(0))
            self._cores = [cores[index % len(cores)] for index in range(workers)]
            self._file = open_memory_file("sluice-cores")  # open as long as the process lives

    def pin(self) -> int | None:
        """In a worker, before it starts threads: pin it to a core that no other worker has.

        Returns
        -------
        int or None
            The core's number; None if workers are not pinned.
        """
        place = claim_place(self._file, range(len(self._cores))) if self._cores else None
        if place is None:
            return None
        core = self._cores[place]
        try:
            os.sched_setaffinity(0, {core})
        except OSError as error:  # the core was removed from this container meanwhile
            log.warning("cannot pin this worker to core %d (%s): the kernel schedules it", core, error.strerror)
            return None
        return core
