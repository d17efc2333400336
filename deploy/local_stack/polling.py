"""Waiting for something to become true, for a bounded time, and giving up at once when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class StoppedError(Exception):
    """Somebody asked us to stop while a step was waiting."""


def poll_until(
    look: Callable[[], Found | None],
    stop: threading.Event,
    *,
    seconds: float,
    otherwise: Callable[[], Exception],
    every: float = 0.2,
) -> Found:
    """Call `look` until it returns something, and return that.

    Raises
    ------
    StoppedError
        When `stop` was set first.
    Exception
        What `otherwise` returns, when `seconds` went by first.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise otherwise()
        if stop.wait(every):
            raise StoppedError
