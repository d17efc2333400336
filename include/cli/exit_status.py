"""How a command ends: its exit status, also when it is interrupted or its output can no longer be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

from include.cli.interrupts import interrupts_after_imports

FAILED: Final = 1
REJECTED: Final = 3
DATABASE_FAILED: Final = 4
BREAKING: Final = 5
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
OUTPUT_CLOSED: Final = 141  # 128 + SIGPIPE


def exit_status_of(run: Callable[[], int]) -> int:
    """Call `run` and return its exit status; an interrupt and a closed output end without a traceback."""
    try:
        with _watched_streams(), interrupts_after_imports():
            try:
                return run()
            finally:
                sys.stdout.flush()  # here its error is handled; the interpreter would print it at its end
    except KeyboardInterrupt:
        with suppress(OSError):
            sys.stderr.write("sluice: interrupted; no partial result was published\n")
        return INTERRUPTED
    except OutputError as failed:
        _discard(sys.stdout)
        if isinstance(failed.error, BrokenPipeError):
            _discard(sys.stderr)
            return OUTPUT_CLOSED
        with suppress(OSError):
            sys.stderr.write(
                f"sluice: expected an output that can be written; found: {failed.error.strerror}. Free some space.\n"
            )
        return FAILED


class OutputError(Exception):
    """Standard output or error cannot be written. No OSError, which others would take for one of their own files."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _WatchedStream:
    """Standard output or error, whose errors are raised as `OutputError`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from error


@contextmanager
def _watched_streams() -> Iterator[None]:
    """Watch standard output and error. A stream that the shell closed (``>&-``), for which Python has None, is null."""
    former = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  # no path of ours
        streams = [_WatchedStream(stream or nowhere) for stream in former]
        sys.stdout, sys.stderr = streams
        try:
            yield
        finally:
            sys.stdout, sys.stderr = former


def _discard(stream: TextIO) -> None:
    """Let what is still buffered, and what follows, go nowhere: the interpreter flushes it at its end."""
    with open(os.devnull, "wb") as nowhere, suppress(OSError, AttributeError):  # noqa: PTH123  # as above
        os.dup2(nowhere.fileno(), stream.fileno())
