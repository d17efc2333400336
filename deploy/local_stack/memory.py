"""Peak memory of all processes of the stack together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

SHARE_OF_TIME = 0.05  # looking may cost at most this part of one core


@dataclass(slots=True)
class MemoryWatch:
    """Adds up, about every second, what the processes hold, and keeps the greatest sum.

    The measure is PSS: a page that n processes share counts 1/n for each, so that the sum is what
    the machine really gave. Where the system has no PSS (macOS) it is USS, private pages only.

    Parameters
    ----------
    processes : callable
        Returns the processes to add up.
    """

    processes: Callable[[], Iterable[psutil.Process]]
    peak: int = 0
    measure: str = "PSS"
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to watch, in a thread that ends with the program."""
        threading.Thread(target=self._watch, name="memory", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()

    def look(self) -> int:
        """Add up once, and return the sum in bytes."""
        total = sum(self._of(process) for process in self.processes())
        self.peak = max(self.peak, total)
        return total

    def _of(self, process: psutil.Process) -> int:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            held = process.memory_full_info()
            if hasattr(held, "pss"):
                return int(held.pss)
            self.measure = "USS"
            return int(held.uss)
        return 0

    def _watch(self) -> None:
        pause = 1.0
        while not self._over.wait(pause):
            began = time.thread_time()
            self.look()
            pause = max(1.0, (time.thread_time() - began) / SHARE_OF_TIME)
