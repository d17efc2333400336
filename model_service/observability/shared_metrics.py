"""The metrics of all workers, each in a place of its own in memory that the workers share.

A worker writes all that it has counted so far; any worker reads the places of all. No file is on a disk and none is
mapped: writing a mapped page that the file system cannot store kills the process (SIGBUS), without a word in the log.
See docs/decisions/0027.

Sources
-------
https://man7.org/linux/man-pages/man2/memfd_create.2.html and mmap.2 (SIGBUS).
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Final

from model_service.server.memory_file import claim_place, open_memory_file

log = logging.getLogger(__name__)

MAX_BYTES: Final = 256 << 20  # a header that claims more was not written by a worker
_HEADER: Final = Struct("<QQI")  # number of the writing, length of the content, CRC-32 of all three
_NUMBERS: Final = Struct("<QQ")
_READS: Final = 3
_NAME: Final = "sluice-metrics"


class UnreadableMetricsError(Exception):
    """A place was written, but neither of its halves contains what a worker wrote."""


class SharedMetrics:
    """A place for each worker, which holds the bytes that it wrote last.

    Create it in the main process, before the workers are forked. A worker holds its place by a record lock: when it
    dies, the kernel releases the lock, and its successor gets the place and what it contains.

    Parameters
    ----------
    workers : int
        Number of workers. There are twice as many places, because a new worker may start before an old one has ended.
    """

    def __init__(self, workers: int) -> None:
        # Two halves each: the last complete content stays in one while the other is written, whatever ends the writer.
        self._places = [
            (open_memory_file("sluice-metrics"), open_memory_file("sluice-metrics")) for _ in range(2 * workers)
        ]
        self._locks = open_memory_file("sluice-metrics")
        self._own: int | None = None
        self._written = 0

    def __len__(self) -> int:
        return len(self._places)

    def attach(self) -> bytes | None:
        """In a worker: take a free place, and return what a worker that has died left there, if anything.

        Without a free place, the metrics of this worker are only in what it answers itself.
        """
        self._own = claim_place(self._locks, range(len(self._places)))
        if self._own is None:
            log.warning("all %d places for metrics are taken: those of this worker are not shared", len(self._places))
            return None
        try:
            self._written, left = self._newest(self._own)
        except UnreadableMetricsError:
            log.warning("the counts of the previous worker cannot be read: they begin at 0")
            return None
        return left

    def write(self, content: bytes) -> None:
        """Replace the content of this worker's place.

        Raises
        ------
        OSError
            If there is no memory; the previous content remains.
        """
        if self._own is None:
            return
        number = self._written + 1
        file = self._places[self._own][number % 2]
        _write_at(file, content, _HEADER.size)
        _write_at(file, _HEADER.pack(number, len(content), _checksum(number, content)), 0)
        os.ftruncate(file, _HEADER.size + len(content))
        self._written = number

    def others(self) -> Iterator[bytes | None]:
        """Yield the content of each other place that was ever written; None: it cannot be read."""
        for index in range(len(self._places)):
            if index == self._own:
                continue
            try:
                _, content = self._newest(index)
            except UnreadableMetricsError:
                yield None
            else:
                if content is not None:
                    yield content

    def _newest(self, index: int) -> tuple[int, bytes | None]:
        """Return the number of the last complete writing and its content; 0 and None if nothing was written."""
        for _ in range(_READS):  # a worker that writes twice meanwhile overwrites what is being read
            halves = [_read(file) for file in self._places[index]]
            found = max((each for each in halves if each is not None), default=None)
            if found is not None:
                return found
            if not any(os.fstat(file).st_size for file in self._places[index]):
                return 0, None
        raise UnreadableMetricsError


def _write_at(file: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def _read(file: int) -> tuple[int, bytes] | None:
    header = os.pread(file, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return None
    number, length, checksum = _HEADER.unpack(header)
    if length > MAX_BYTES:
        return None
    content = os.pread(file, length, _HEADER.size)
    return (number, content) if len(content) == length and _checksum(number, content) == checksum else None


def _checksum(number: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_NUMBERS.pack(number, len(content))))
