"""The launcher's own log, and log records of the library shown as progress."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path


def configure_logging(file: Path) -> None:
    """Write this process's log records to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", encoding="utf-8"
    )
    # httpx logs every request; the steps poll several times a second.
    logging.getLogger("httpx").setLevel(logging.WARNING)


@contextlib.contextmanager
def forward_log_records(logger: str, note: Callable[[str], None]) -> Iterator[None]:
    """Pass each message of `logger` to `note` while the body runs."""

    class Forwarder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    handler, source = Forwarder(logging.INFO), logging.getLogger(logger)
    source.addHandler(handler)
    try:
        yield
    finally:
        source.removeHandler(handler)
