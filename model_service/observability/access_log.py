"""The access log: one line of JSON per request, written by a thread. A request never waits for a disk or a pipe."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

MAX_QUEUED: Final = 100_000
BACKUP_COUNT: Final = 5
BATCH_LINES: Final = 250
_NEWLINE: Final = ord("\n")
_encode: Final = msgspec.json.Encoder().encode


class AccessLogEntry(msgspec.Struct, omit_defaults=True):
    """One line. Features and predictions are included only if a setting enables them."""

    time: datetime
    request_id: str
    method: str
    route: str
    status: int
    microseconds: int
    address: str
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


class StandardOutput:
    """Writes lines to standard output, which processes share: each piece by one system call, if the system takes it."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._torn = False

    def write(self, lines: bytes) -> None:
        """Append `lines`. What a full disk cuts off is a line of its own: the next one begins on a new line."""
        left = memoryview(b"\n" + lines if self._torn else lines)
        while left:  # not `sys.stdout`: what that could not write stays in its buffer
            written = os.write(self._descriptor, left)
            self._torn = left[written - 1] != _NEWLINE
            left = left[written:]


class RotatingFile:
    """A file that several processes append to and rotate.

    It is open while it is written only, so that it keeps no file system busy; its folder is created if it is missing.

    Parameters
    ----------
    file : Path
        Its backups are `file`.1 to `file`.5.
    max_bytes : int
        Size at which it is rotated.
    """

    def __init__(self, file: Path, max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes

    def write(self, lines: bytes) -> None:
        """Append `lines`: all of them or, if that fails, none.

        Raises
        ------
        OSError
            If the file system does not take them.
        """
        descriptor = self._locked()
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, lines)
            except OSError:
                os.ftruncate(descriptor, size)  # a full disk may have taken half a line
                raise
        finally:
            os.close(descriptor)

    def _locked(self) -> int:
        """Return a descriptor of the current file, which no other process writes or rotates until it is closed."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                found = os.fstat(descriptor)
                if os.path.samestat(self._file.stat(), found):  # otherwise another process has just rotated it
                    if found.st_size < self._max_bytes:
                        return descriptor
                    self._rotate()
            except FileNotFoundError:
                pass
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            return os.open(self._file, flags, 0o640)
        except FileNotFoundError:  # the first time, or somebody has removed the folder
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._file, flags, 0o640)

    def _rotate(self) -> None:
        for number in range(BACKUP_COUNT - 1, 0, -1):
            older = Path(f"{self._file}.{number}")
            if older.exists():
                older.replace(f"{self._file}.{number + 1}")
        self._file.replace(f"{self._file}.1")


def _write_all(descriptor: int, lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        left = left[os.write(descriptor, left) :]
