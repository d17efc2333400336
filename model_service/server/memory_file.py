"""Files in memory that the main process and its workers share, across a fork."""

from __future__ import annotations

import os
import sys
import tempfile


def open_memory_file(name: str) -> int:
    """Return the descriptor of an empty file in memory; it ends with the processes that have it open.

    On systems other than Linux it is a file without a name on the disk.
    """
    if sys.platform == "linux":
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
