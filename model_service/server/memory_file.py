"""Files in memory that the main process and its workers share across a fork, and places in them that workers hold."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress


def open_memory_file(name: str) -> int:
    """Return the descriptor of an empty file in memory; it ends with the processes that have it open.

    On systems other than Linux it is a file without a name on the disk.
    """
    if sys.platform == "linux":
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def claim_place(file: int, places: Iterable[int]) -> int | None:
    """In a worker: take the first of `places` that no living worker holds; None if all are taken.

    A place is held by a record lock on one byte of `file`: when the worker dies, the kernel releases the lock, and its
    successor gets the place.
    """
    for place in places:
        with suppress(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            return place
    return None
