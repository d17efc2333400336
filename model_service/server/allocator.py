"""Memory that is free goes back to the system: allocators keep what they were given, in heaps and caches a thread.

Sources
-------
https://man7.org/linux/man-pages/man3/mallopt.3.html, https://man7.org/linux/man-pages/man3/malloc_trim.3.html,
https://jemalloc.net/jemalloc.3.html
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h
_LIBC: Final = ctypes.CDLL(None)


def limit_malloc_arenas() -> None:
    """Have glibc's threads share two heaps, not one each: what they free, others can use."""
    if hasattr(_LIBC, "mallopt"):  # glibc's; others have no arenas
        _LIBC.mallopt(_M_ARENA_MAX, 2)


def limit_tcache() -> None:
    """Have granian's allocator, a jemalloc of its own, keep no piece of over 4 KiB for a thread that freed it.

    It reads this when granian is loaded: call it before. With 64 connections it is 4 MiB a worker less, and no slower.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "tcache_max:4096")


def trim_heap() -> None:
    """Give the system what is free, as after a model was loaded: its graph was parsed in memory of many times its size.

    It takes some milliseconds, in which the interpreter's lock is not held.
    """
    if hasattr(_LIBC, "malloc_trim"):  # glibc's
        _LIBC.malloc_trim(0)
