"""Exponential back-off between attempts."""

from __future__ import annotations


class Backoff:
    """Pauses that double with each failure, up to a maximum.

    Parameters
    ----------
    first, maximum : float
        The first and the longest pause, in seconds.
    """

    def __init__(self, first: float, maximum: float) -> None:
        self._first, self._maximum = first, maximum
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the latest attempt failed."""
        return self._failures > 0

    def failed(self) -> float:
        """Record a failure and return the pause before the next attempt."""
        pause = min(self._first * 2.0**self._failures, self._maximum)
        self._failures = min(self._failures + 1, 64)
        return pause

    def succeeded(self) -> None:
        """Record a success: the next failure is followed by the first pause again."""
        self._failures = 0
