"""Peak memory of all processes of the stack together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

from include.processes import memory_in_use

MAX_SHARE_OF_A_CORE = 0.05  # measuring may cost this much


@dataclass(slots=True)
class MemoryMonitor:
    """Adds up, about every second, the memory of the processes, and keeps the largest sum.

    Parameters
    ----------
    processes : callable
        Returns the processes to add up.
    """

    processes: Callable[[], Iterable[psutil.Process]]
    peak: int = 0
    measure: str = "PSS"
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to measure, in a thread that ends with the program."""
        threading.Thread(target=self._run, name="memory", daemon=True).start()

    def stop(self) -> None:
        """Measure no longer."""
        self._stopped.set()

    def sample(self) -> int:
        """Add up once, and return the sum in bytes."""
        total = sum(self._memory_of(process) for process in self.processes())
        self.peak = max(self.peak, total)
        return total

    def _memory_of(self, process: psutil.Process) -> int:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            size, self.measure = memory_in_use(process)
            return size
        return 0

    def _run(self) -> None:
        pause = 1.0
        while not self._stopped.wait(pause):
            began = time.thread_time()
            self.sample()
            pause = max(1.0, (time.thread_time() - began) / MAX_SHARE_OF_A_CORE)
