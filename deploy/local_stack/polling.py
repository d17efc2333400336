"""Waiting for a condition: for a limited time, and no longer once the stack is being stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from deploy.local_stack.errors import StoppedError

Result = TypeVar("Result")


def poll_until(
    check: Callable[[], Result | None],
    stop: threading.Event,
    *,
    timeout: float,
    on_timeout: Callable[[], Exception],
    interval: float = 0.2,
) -> Result:
    """Call `check` every `interval` seconds until it returns something else than None, and return that.

    Raises
    ------
    StoppedError
        When `stop` is set first.
    Exception
        The one that `on_timeout` returns, after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = check()
        if result is not None:
            return result
        if time.monotonic() > deadline:
            raise on_timeout()
        if stop.wait(interval):
            raise StoppedError
