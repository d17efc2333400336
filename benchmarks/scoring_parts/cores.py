"""Processor time: what rows cost, whoever works for them and however many wait for each other."""

from __future__ import annotations

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
    # Its own, that of children which have ended, and that of those which live.
    used = sum(postmaster.cpu_times()[:4])
    for child in postmaster.children(recursive=True):
        try:
            used += sum(child.cpu_times()[:2])
        except psutil.NoSuchProcess:  # it ended between the two looks: the kernel had it added above, or will
            continue
    return CoreSeconds(time.process_time(), used)
