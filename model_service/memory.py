"""Memory that is free goes back to the system: glibc keeps what it was given, in a heap a thread.

Sources
-------
https://man7.org/linux/man-pages/man3/mallopt.3.html, https://man7.org/linux/man-pages/man3/malloc_trim.3.html
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h
_LIBC: Final = ctypes.CDLL(None)


def keep_few_arenas() -> None:
    """Have glibc's threads share two heaps, not one each: what they free, others can use."""
    if hasattr(_LIBC, "mallopt"):  # glibc's; others have no arenas
        _LIBC.mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Give the system what is free, as after a model was loaded: its graph was parsed in memory of many times its size.

    It takes some milliseconds, in which the interpreter's lock is not held.
    """
    if hasattr(_LIBC, "malloc_trim"):  # glibc's
        _LIBC.malloc_trim(0)
