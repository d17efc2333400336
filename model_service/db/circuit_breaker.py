"""A circuit breaker: what fails again and again is left alone for a while, and then tried once.

Closed, everything is let through. After `failures` failures in a row it opens: for `pause` seconds
nothing is. Then it is half-open: one caller gets a trial, and the trial's outcome closes it or opens
it again. A trial that never reports is given up after another `pause`, so that a lost caller does
not keep the circuit open for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum


class CircuitState(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Permit(StrEnum):
    """What a caller may do."""

    ALLOW = "allow"
    PROBE = "probe"
    REJECT = "reject"


class CircuitBreaker:
    """Counts failures in a row, and says who may go on. Safe for threads.

    Parameters
    ----------
    failures : int
        After how many failures in a row it opens.
    pause : float
        Seconds for which it stays open before one trial.
    clock : callable
        Returns seconds that never run backwards.
    """

    def __init__(self, *, failures: int = 3, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._pause, self._clock = failures, pause, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed = True
        self._next_trial = 0.0

    @property
    def state(self) -> CircuitState:
        """The state now; half-open begins by the clock alone."""
        with self._lock:
            if self._closed:
                return CircuitState.CLOSED
            return CircuitState.OPEN if self._clock() < self._next_trial else CircuitState.HALF_OPEN

    def acquire(self) -> Permit:
        """Return whether to go on. Who is given a `Permit.PROBE` reports its outcome."""
        if self._closed:  # the usual case takes no lock; a caller more or less does no harm
            return Permit.ALLOW
        with self._lock:
            if self._closed:
                return Permit.ALLOW
            now = self._clock()
            if now < self._next_trial:
                return Permit.REJECT
            self._next_trial = now + self._pause  # the next one's turn, should this one never report
            return Permit.PROBE

    def record_success(self) -> None:
        """Report that it worked: the circuit is closed and forgets its failures."""
        if self._closed and not self._failures:
            return
        with self._lock:
            self._closed, self._failures = True, 0

    def record_failure(self) -> None:
        """Report that it did not work."""
        with self._lock:
            self._failures += 1
            if self._closed and self._failures < self._most:
                return
            self._closed = False
            self._next_trial = self._clock() + self._pause
