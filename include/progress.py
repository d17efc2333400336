"""How far a long piece of work is: the port through which the library reports it, and its adapter for logs.

The library reports often, and prints nothing. Whoever calls it decides what to show: the command line has a line on the
terminal (`include.cli.progress`), a task of Airflow a line in its log now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

log = logging.getLogger(__name__)

FIRST_MESSAGE_SECONDS: Final = 10.0


@contextmanager
def repeated_in_background(action: Callable[[], object], waits: Iterable[float]) -> Iterator[None]:
    """Call `action` in a thread while the body runs, after each of these waits in seconds."""
    over = threading.Event()

    def repeat() -> None:
        for seconds in waits:
            if over.wait(seconds):
                return
            action()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Progress(Protocol):
    """Takes reports on the work of one step at a time; may be called from any thread."""

    def report(self, what: str, done: int, total: int | None = None) -> None:
        """Report that `done` of `total` are done.

        Parameters
        ----------
        what : str
            What is counted, in the plural: "rows read".
        total : int, optional
            None: it is not known beforehand.
        """


class SilentProgress:
    """Shows nothing."""

    def report(self, what: str, done: int, total: int | None = None) -> None:
        """Do nothing."""


SILENT: Final = SilentProgress()


class LoggedProgress:
    """Logs how far slow work is: after 10 seconds, and then each time that it has taken twice as long.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._what = ""
        self._done = 0
        self._started = self._due = 0.0

    def report(self, what: str, done: int, total: int | None = None) -> None:
        """Log a line, if one is due. Other work, or a smaller number, begins anew."""
        with self._lock:
            now = self._clock()
            if what != self._what or done < self._done:
                self._started, self._due = now, now + FIRST_MESSAGE_SECONDS
            self._what, self._done = what, done
            if now < self._due or done == total:
                return
            spent = now - self._started
            self._due = now + spent
        log.info("%s after %.0f s", sentence(what, done, total), spent)


def sentence(what: str, done: int, total: int | None) -> str:
    """Return a report in words: "2,000 of 10,000 rows scored"."""
    return f"{done:,} {what}" if total is None else f"{done:,} of {total:,} {what}"
