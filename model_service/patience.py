"""Ends connections whose request is not answered in time, so that no client keeps a worker's places for good.

A worker reads a body in a thread that waits until it is there; nothing in WSGI bounds that wait. But
work is bounded, by bytes, rows and the database's patience: a request that is under way for longer
than any work takes waits for its client, be it silent or sending a byte now and then. Then it
is answered 408 past the server, and its connection is shut from our side, which ends the wait.

WSGI does not tell which connection a request came by, but the kernel tells of each when it last brought
data and when it last took some: one that has taken none since, and goes on so, is not answered. The kernel's
clock ticks every four milliseconds: a connection that was answered within a tick and is idle looks as one that
waits, so it may be cut as well while another waits too long. Clients open idle connections again.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from model_service.answers import encode
from model_service.problems import MEDIA_TYPE

log = logging.getLogger(__name__)

# Offsets in Linux' struct tcp_info (include/uapi/linux/tcp.h) of tcpi_last_data_sent and tcpi_last_data_recv, both
# in milliseconds ago, tcpi_bytes_received, and tcpi_data_segs_out.
_SENT, _RECEIVED, _TAKEN, _GIVEN = 44, 52, 128, 156
_TCP_INFO: Final = 11
_LENGTH: Final = 160
_PAUSE: Final = 1.0


class _Waiting(NamedTuple):
    """Of one connection: how many segments it was sent, and since when it is seen to wait for more."""

    given: int
    since: float


def watch_connections(port: int, seconds: float, oldest: Callable[[], float]) -> None:
    """Have a thread end connections to `port` that are not answered for `seconds`.

    Parameters
    ----------
    port : int
        Where the service listens.
    seconds : float
        A little more may pass: it looks once a second.
    oldest : callable
        For how many seconds the oldest request is under way; 0 when none is.
    """
    if sys.platform != "linux":
        log.warning("clients that never send their request whole are not cut off on this system")
        return
    patience = Patience(port, seconds)

    def watch() -> None:
        pause = threading.Event()
        while not pause.wait(min(_PAUSE, seconds / 4)):
            if oldest() > min(_PAUSE, seconds / 4):  # otherwise nobody waits for long, and it costs nothing to know
                patience.look()

    threading.Thread(target=watch, name="patience", daemon=True).start()


class Patience:
    """Keeps in mind since when each connection of this process to `port` waits for an answer.

    Parameters
    ----------
    port : int
    seconds : float
        How long one may wait.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._waiting: dict[str, _Waiting] = {}
        self._answer = _too_late(seconds)

    def look(self) -> int:
        """Shut the connections that wait too long, and return how many."""
        cut, waiting = 0, {}
        for connection, name in _connections(self._port):
            now = time.monotonic()
            given = _given(connection)
            if given is None:
                continue
            known = self._waiting.get(name)
            since = known.since if known is not None and known.given == given else now
            waiting[name] = _Waiting(given, since)
            if now - since > self._seconds:
                with suppress(OSError):  # it ended by itself
                    connection.send(self._answer, socket.MSG_DONTWAIT)
                    connection.shutdown(socket.SHUT_RDWR)
                    cut += 1
        self._waiting = waiting
        if cut:
            log.warning("%s connection(s) were cut: their request was not whole within %s s", cut, self._seconds)
        return cut


def _too_late(seconds: float) -> bytes:
    """Return the whole HTTP answer to a request that did not come in time."""
    body = encode(
        {
            "type": "urn:sluice:problem:too-late",
            "title": "The request did not come in time",
            "status": 408,
            "detail": f"expected the whole request within {seconds:g} s; found less. Send it again, in parts if it is "
            "large, or have the operator raise SLUICE_SERVICE_REQUEST_SECONDS.",
        }
    )
    head = (
        "HTTP/1.1 408 Request Timeout",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + body


def _connections(port: int) -> Iterator[tuple[socket.socket, str]]:
    """Yield this process's connections to `port`, each with a name of its own, closed afterwards."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            connection = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # closed meanwhile, or no socket
            continue
        with connection:
            try:
                ours = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getsockname()[1] == port
                name = str(connection.getpeername()) if ours else ""  # the listening socket has none
            except OSError:
                continue
            if ours:
                yield connection, name


def _given(connection: socket.socket) -> int | None:
    """Return how many segments a connection was sent that may wait for more; None for one that does not."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LENGTH)
    except OSError:
        return None
    if len(info) < _LENGTH:  # a kernel before 4.6
        return None
    (sent,), (received,) = struct.unpack_from("I", info, _SENT), struct.unpack_from("I", info, _RECEIVED)
    (taken,), (given,) = struct.unpack_from("Q", info, _TAKEN), struct.unpack_from("I", info, _GIVEN)
    return int(given) if taken and received <= sent else None
