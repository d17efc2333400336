"""A circuit breaker: an operation that keeps failing is suspended for a while and then probed once.

While the circuit is closed, every call is allowed. After `failures` failures in a row it opens: for `reset_timeout`
seconds every call is rejected. Then it is half-open: one caller may probe, and the result closes the circuit or opens
it again. A probe that never reports its result is replaced after another `reset_timeout`, so that a lost caller does
not keep the circuit open for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum


class CircuitState(StrEnum):
    """The states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Permit(StrEnum):
    """What a caller may do."""

    ALLOW = "allow"
    PROBE = "probe"
    REJECT = "reject"


class CircuitBreaker:
    """Counts failures in a row and decides which calls are allowed. It is thread-safe.

    Parameters
    ----------
    failures : int
        Number of failures in a row after which the circuit opens.
    reset_timeout : float
        Seconds for which it stays open before one probe.
    clock : callable
        Returns seconds that never decrease.
    """

    def __init__(
        self, *, failures: int = 3, reset_timeout: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_failures, self._reset_timeout, self._clock = failures, reset_timeout, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed = True
        self._next_probe = 0.0

    @property
    def state(self) -> CircuitState:
        """The current state; half-open follows from the clock alone."""
        with self._lock:
            if self._closed:
                return CircuitState.CLOSED
            return CircuitState.OPEN if self._clock() < self._next_probe else CircuitState.HALF_OPEN

    def acquire(self) -> Permit:
        """Return whether the call is allowed. A caller that gets `Permit.PROBE` must report the result."""
        if self._closed:  # the usual case takes no lock; one call more or less does no harm
            return Permit.ALLOW
        with self._lock:
            if self._closed:
                return Permit.ALLOW
            now = self._clock()
            if now < self._next_probe:
                return Permit.REJECT
            self._next_probe = now + self._reset_timeout  # for the next caller, if this one never reports
            return Permit.PROBE

    def record_success(self) -> None:
        """Report a success: the circuit closes and the count of failures is reset."""
        if self._closed and not self._failures:
            return
        with self._lock:
            self._closed, self._failures = True, 0

    def record_failure(self) -> None:
        """Report a failure."""
        with self._lock:
            self._failures += 1
            if self._closed and self._failures < self._max_failures:
                return
            self._closed = False
            self._next_probe = self._clock() + self._reset_timeout
