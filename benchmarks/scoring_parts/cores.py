"""Processor time: what rows cost, whoever works for them and however many wait for each other."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class CoreSeconds:
    """Processor time in seconds, of all threads: this process, and PostgreSQL with all that it has started."""

    client: float
    database: float

    def __sub__(self, other: CoreSeconds) -> CoreSeconds:
        return CoreSeconds(self.client - other.client, self.database - other.database)

    def named(self, prefix: str = "") -> dict[str, float]:
        """Return both as figures of a measurement."""
        return {f"{prefix}client_core_seconds": self.client, f"{prefix}database_core_seconds": self.database}


def core_seconds(home: Path) -> CoreSeconds:
    """Return what was used until now; the server is the embedded one below `home`."""
    postmaster = psutil.Process(int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))
    while True:
        # Its own, that of children which have ended, and that of those which live; again if one ended meanwhile.
        before, living = postmaster.cpu_times(), 0.0
        for child in postmaster.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                living += sum(child.cpu_times()[:2])
        if postmaster.cpu_times()[2:4] == before[2:4]:
            return CoreSeconds(time.process_time(), sum(before[:4]) + living)
