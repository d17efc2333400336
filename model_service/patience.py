"""Ends connections whose request never comes whole, so that they don't keep a worker's places for good.

A worker reads a body in a thread that waits until it is there; nothing in WSGI bounds that wait. But
work is bounded, by bytes, rows and the database's patience: a request that is under way for longer
than any work takes waits for its client. Then the connections on which nothing came for as long are
shut from our side, which ends the wait.

A client that sends a byte now and then is not caught: what does is a proxy that reads bodies first.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

# struct tcp_info of Linux: eight bytes, then 32-bit numbers, of which the twelfth is tcpi_last_data_recv.
_LAST_DATA_RECEIVED: Final = 8 + 11 * 4
_TCP_INFO: Final = 11


def watch_connections(port: int, seconds: float, oldest: Callable[[], float]) -> None:
    """Have a thread end connections to `port` that keep a request waiting for `seconds`.

    Parameters
    ----------
    port : int
        Where the service listens.
    seconds : float
    oldest : callable
        For how many seconds the oldest request is under way; 0 when none is.
    """
    if sys.platform != "linux":
        log.warning("clients that never send their request whole are not cut off on this system")
        return

    def watch() -> None:
        pause = threading.Event()
        while not pause.wait(min(1.0, seconds / 2)):
            if oldest() > seconds:
                cut_silent(port, seconds)

    threading.Thread(target=watch, name="patience", daemon=True).start()


def cut_silent(port: int, seconds: float) -> int:
    """Shut this process's connections to `port` on which nothing came for `seconds`; return how many."""
    cut = 0
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            connection = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # closed meanwhile, or no socket
            continue
        with connection:
            if _is_silent(connection, port, seconds):
                connection.shutdown(socket.SHUT_RDWR)
                cut += 1
    if cut:
        log.warning("%s connection(s) were cut: nothing came on them for %s s", cut, seconds)
    return cut


def _is_silent(connection: socket.socket, port: int, seconds: float) -> bool:
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
            return False
        connection.getpeername()  # the listening socket has none
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 128)
    except OSError:
        return False
    return bool(struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0] > seconds * 1000)
