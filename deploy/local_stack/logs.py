"""The launcher's own log, and log records shown to the person who waits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path


def log_to(file: Path) -> None:
    """Send this process's log records to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", encoding="utf-8"
    )
    # Every request of the REST clients is no news.
    logging.getLogger("httpx").setLevel(logging.WARNING)


@contextlib.contextmanager
def told_as_notes(logger: str, note: Callable[[str], None]) -> Iterator[None]:
    """Pass what `logger` says to `note` while the body runs."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    teller, source = Teller(logging.INFO), logging.getLogger(logger)
    source.addHandler(teller)
    try:
        yield
    finally:
        source.removeHandler(teller)
