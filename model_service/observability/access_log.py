"""One line of JSON a request, written by a thread: a request never waits for a disk or a pipe."""

from __future__ import annotations

import fcntl
import os
import sys
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

MOST_WAITING: Final = 100_000
KEPT: Final = 5
LINES_AT_ONCE: Final = 250
_encode: Final = msgspec.json.Encoder().encode


class AccessLogEntry(msgspec.Struct, omit_defaults=True):
    """What the log says of a request. Features and predictions only if a setting asks for them."""

    time: datetime
    request_id: str
    method: str
    route: str
    status: int
    microseconds: int
    subject: str
    model: str = ""
    version: int = 0
    rows: int = 0
    traceparent: str | None = None
    features: Any = None
    predictions: Any = None


class AccessLog:
    """Takes lines at once and writes them when it is told.

    Parameters
    ----------
    write : callable
        Takes many lines as bytes.
    most : int
        Lines that may wait; more are dropped and counted.
    """

    def __init__(self, write: Callable[[bytes], None], most: int = MOST_WAITING) -> None:
        self._write = write
        self._waiting: deque[AccessLogEntry] = deque()
        self._most = most
        self.dropped = 0

    def add(self, line: AccessLogEntry) -> int:
        """Take a line, and return how many wait."""
        if len(self._waiting) < self._most:
            self._waiting.append(line)
        else:
            self.dropped += 1
        return len(self._waiting)

    def flush(self) -> None:
        """Write the lines that wait; those that cannot be written are lost and counted as dropped."""
        # Few at a time: requests wait while lines are made, and get their turn while lines are written.
        while count := min(len(self._waiting), LINES_AT_ONCE):
            lines = [_encoded(self._waiting.popleft()) for _ in range(count)]
            try:
                self._write(b"\n".join(lines) + b"\n")
            except OSError:  # a full disk, a pipe that is shut
                self.dropped += count
                raise


def _encoded(line: AccessLogEntry) -> bytes:
    try:
        return _encode(line)
    except UnicodeEncodeError:  # half of a surrogate pair: legal in a request's JSON, but not in UTF-8
        return _encode(_whole(msgspec.to_builtins(line)))


def _whole(value: Any) -> Any:
    """Return `value` with a question mark for each half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return value


def to_stdout(lines: bytes) -> None:
    """Write `lines` to standard output, whole, however many processes share it."""
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


class RotatingFile:
    """A file that several processes append to, and that whichever finds it full puts aside.

    Parameters
    ----------
    file : Path
        Older ones are `file`.1 to `file`.5.
    most_bytes : int
        Size at which it is put aside.
    """

    def __init__(self, file: Path, most_bytes: int) -> None:
        self._file, self._most_bytes = file, most_bytes
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = self._open()

    def write(self, lines: bytes) -> None:
        """Append `lines`."""
        self._follow()
        os.write(self._descriptor, lines)
        if os.fstat(self._descriptor).st_size >= self._most_bytes:
            self._put_aside()

    def _open(self) -> int:
        return os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _follow(self) -> None:
        """Open the file anew if another process put ours aside."""
        if not self._is_ours():
            os.close(self._descriptor)
            self._descriptor = self._open()

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(self._file.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _put_aside(self) -> None:
        with Path(f"{self._file}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_ours():  # another was first
                return
            for number in range(KEPT - 1, 0, -1):
                older = Path(f"{self._file}.{number}")
                if older.exists():
                    older.replace(f"{self._file}.{number + 1}")
            self._file.replace(f"{self._file}.1")
