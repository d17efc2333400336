"""Counts kept in plain memory between two flushes, since a request can't wait for shared files.

A tally of a request costs about a microsecond; observing it at once in Prometheus's shared files, with
its four stages, ten.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from model_service.visit import Visit

# From a single row on a quiet machine to a batch on a busy one, in seconds.
BOUNDS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS)

# (route, model, version, status) and (model, stage)
RequestKey = tuple[str, str, int, int]
StageKey = tuple[str, str]


class Durations:
    """A histogram of durations in nanoseconds."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        self.buckets[bisect_left(_BOUNDS_NS, nanoseconds)] += 1
        self.total += nanoseconds

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.buckets)


@dataclass(slots=True)
class Tally:
    """What was counted since the last flush."""

    requests: dict[RequestKey, Durations] = field(default_factory=dict)
    stages: dict[StageKey, Durations] = field(default_factory=dict)
    rows: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, visit: Visit, status: int, nanoseconds: int) -> None:
        """Count a request that was answered."""
        key = (visit.route, visit.model, visit.version, status)
        found = self.requests.get(key)
        if found is None:
            found = self.requests[key] = Durations()
        found.add(nanoseconds)
        for stage, spent in visit.laps:
            at = (visit.model, stage)
            found = self.stages.get(at)
            if found is None:
                found = self.stages[at] = Durations()
            found.add(spent)
        if visit.rows and status < 300:
            answered = (visit.model, visit.version)
            self.rows[answered] = self.rows.get(answered, 0) + visit.rows
