"""Restarts a worker that can no longer answer.

Each worker writes a heartbeat into memory that it shares with the main process. The main process kills a worker

- that reports itself as stuck: all its places are held by requests that last longer than any request may;
- whose heartbeat stops: its threads do not run, because one of them holds the GIL or the process is frozen.

Granian then starts another one. The new worker finds the heartbeat of the one before, counts the restart and, if
nobody killed the old one, knows that it crashed.
"""

from __future__ import annotations

import faulthandler
import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from model_service.server.memory_file import claim_place, open_memory_file

log = logging.getLogger("model_service")

Reason = Literal["crashed", "stuck", "unresponsive"]

STUCK_MARGIN_SECONDS: Final = 10.0  # beyond the request timeout, which closes the connections of late requests
UNRESPONSIVE_SECONDS: Final = 60.0
_INTERVAL_SECONDS: Final = 1.0
_STACKS_SECONDS: Final = 0.5
_REASONS: Final[tuple[Reason, ...]] = ("crashed", "stuck", "unresponsive")
# Of a worker: what it writes, and why it was killed, which the main process writes: an index of `_REASONS`.
_BEAT: Final = struct.Struct("=qqq")
_REASON: Final = struct.Struct("=q")
_ROW_BYTES: Final = _BEAT.size + _REASON.size


class _Beat(NamedTuple):
    """Of a worker: its process, its number of heartbeats, and whether it is stuck."""

    process: int
    beats: int
    stuck: int


class Heartbeats:
    """The heartbeats of all workers, in shared memory.

    Create it in the main process, before the workers are forked. Each worker holds a row by a record lock; when it
    dies, the kernel releases the lock, and the worker that replaces it gets the row.

    Parameters
    ----------
    workers : int
        Number of workers.
    """

    def __init__(self, workers: int) -> None:
        self._count = 2 * workers  # a worker can start before the one that it replaces has ended
        self._file = open_memory_file("sluice-heartbeats")  # open as long as the process lives
        os.ftruncate(self._file, self._count * _ROW_BYTES)
        self._memory = mmap.mmap(self._file, self._count * _ROW_BYTES)
        self._unchanged: dict[int, tuple[int, int]] = {}

    def start(self, is_stuck: Callable[[], bool], on_restart: Callable[[Reason], None]) -> None:
        """In a worker: start the thread that writes its heartbeat.

        Parameters
        ----------
        is_stuck : callable
            Whether the worker can accept no request for good.
        on_restart : callable
            Called at once if this worker replaces one that ended by itself or was killed.
        """
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        index = self._claim()
        if self._read(index).process:
            on_restart(self._reason(index))
        self._set_reason(index, "crashed")  # unless the main process kills it

        def beat() -> None:
            beats = 0
            while True:
                beats += 1
                _BEAT.pack_into(self._memory, index * _ROW_BYTES, os.getpid(), beats, is_stuck())
                time.sleep(_INTERVAL_SECONDS)

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()

    def watch(self, workers: Callable[[], Iterable[int]], seconds: float = UNRESPONSIVE_SECONDS) -> None:
        """In the main process: start the thread that kills workers that are stuck or unresponsive.

        Parameters
        ----------
        workers : callable
            Returns the process ids of the present workers.
        seconds : float
            How long a heartbeat may fail to appear. Counted in steps of a second: if the whole machine is suspended,
            no time passes.
        """

        def check() -> None:
            while True:
                time.sleep(_INTERVAL_SECONDS)
                self._check(frozenset(workers()), round(seconds / _INTERVAL_SECONDS))

        threading.Thread(target=check, name="watchdog", daemon=True).start()

    def _check(self, workers: frozenset[int], limit: int) -> None:
        for index in range(self._count):
            row = self._read(index)
            if row.process not in workers or self._reason(index) != "crashed":
                continue
            beats, since = self._unchanged.get(row.process, (0, 0))
            since = since + 1 if beats == row.beats else 0
            self._unchanged[row.process] = (row.beats, since)
            if row.stuck:
                log.error(
                    "worker %s is stuck and is restarted: each request in progress lasts longer than any may, and no "
                    "other is accepted. The stacks of its threads follow",
                    row.process,
                )
                self._kill(index, row.process, "stuck")
            elif since >= limit:
                log.error(
                    "worker %s is unresponsive and is restarted: none of its threads ran for %s s. The stacks of its "
                    "threads follow, unless it is frozen",
                    row.process,
                    limit * _INTERVAL_SECONDS,
                )
                self._kill(index, row.process, "unresponsive")

    def _kill(self, index: int, process: int, reason: Reason) -> None:
        self._set_reason(index, reason)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGUSR1)  # it writes the stacks
            time.sleep(_STACKS_SECONDS)
            os.kill(process, signal.SIGKILL)

    def _claim(self) -> int:
        """Lock a row of a dead worker, or else an unused one, and return its index."""
        dead_first = sorted(range(self._count), key=lambda index: self._read(index).process == 0)
        claimed = claim_place(self._file, dead_first)
        if claimed is None:
            raise RuntimeError(f"expected at most {self._count} processes of workers; found more")
        return claimed

    def _read(self, index: int) -> _Beat:
        return _Beat(*_BEAT.unpack_from(self._memory, index * _ROW_BYTES))

    def _reason(self, index: int) -> Reason:
        found: int = _REASON.unpack_from(self._memory, index * _ROW_BYTES + _BEAT.size)[0]
        return _REASONS[found]

    def _set_reason(self, index: int, reason: Reason) -> None:
        _REASON.pack_into(self._memory, index * _ROW_BYTES + _BEAT.size, _REASONS.index(reason))
