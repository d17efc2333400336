"""The access log: one line of JSON per request, written by a thread. A request never waits for a disk or a pipe."""

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

MAX_QUEUED: Final = 100_000
BACKUP_COUNT: Final = 5
BATCH_LINES: Final = 250
_encode: Final = msgspec.json.Encoder().encode


class AccessLogEntry(msgspec.Struct, omit_defaults=True):
    """One line. Features and predictions are included only if a setting enables them."""

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
    """Queues lines and writes them on `flush`.

    Parameters
    ----------
    write : callable
        Takes many lines as bytes.
    max_queued : int
        Maximum number of queued lines; further ones are dropped and counted.
    """

    def __init__(self, write: Callable[[bytes], None], max_queued: int = MAX_QUEUED) -> None:
        self._write = write
        self._queue: deque[AccessLogEntry] = deque()
        self._max_queued = max_queued
        self.dropped = 0

    def add(self, line: AccessLogEntry) -> int:
        """Queue a line, and return the number of queued lines."""
        if len(self._queue) < self._max_queued:
            self._queue.append(line)
        else:
            self.dropped += 1
        return len(self._queue)

    def flush(self) -> None:
        """Write the queued lines; those that cannot be written are lost and counted as dropped."""
        # In small batches: encoding blocks requests, writing does not.
        while count := min(len(self._queue), BATCH_LINES):
            lines = [_encoded(self._queue.popleft()) for _ in range(count)]
            try:
                self._write(b"\n".join(lines) + b"\n")
            except OSError:  # a full disk, a closed pipe
                self.dropped += count
                raise


def _encoded(line: AccessLogEntry) -> bytes:
    try:
        return _encode(line)
    except UnicodeEncodeError:  # an unpaired surrogate is valid in JSON, but not in UTF-8
        return _encode(_encodable(msgspec.to_builtins(line)))


def _encodable(value: Any) -> Any:
    """Return `value` with each unpaired surrogate replaced by a question mark."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(inner) for inner in value]
    return value


def to_stdout(lines: bytes) -> None:
    """Write `lines` in one piece to standard output, which processes share."""
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


class RotatingFile:
    """A file that several processes append to and rotate.

    Parameters
    ----------
    file : Path
        Its backups are `file`.1 to `file`.5.
    max_bytes : int
        Size at which it is rotated.
    """

    def __init__(self, file: Path, max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = self._open()

    def write(self, lines: bytes) -> None:
        """Append `lines`."""
        self._reopen_if_rotated()
        os.write(self._descriptor, lines)
        if os.fstat(self._descriptor).st_size >= self._max_bytes:
            self._rotate()

    def _open(self) -> int:
        return os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _reopen_if_rotated(self) -> None:
        """Open the file again if another process rotated it."""
        if not self._is_current():
            os.close(self._descriptor)
            self._descriptor = self._open()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._file.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        with Path(f"{self._file}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_current():  # another process was first
                return
            for number in range(BACKUP_COUNT - 1, 0, -1):
                older = Path(f"{self._file}.{number}")
                if older.exists():
                    older.replace(f"{self._file}.{number + 1}")
            self._file.replace(f"{self._file}.1")
