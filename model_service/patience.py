"""Ends connections whose request is not answered in time, so that no client keeps a worker's places for good.

A worker reads a body in a thread that waits until it is there; nothing in WSGI bounds that wait. But
work is bounded, by bytes, rows and the database's patience: a request that is under way for longer
than any work takes waits for its client, be it silent or sending a byte now and then. Then it
is answered 408 past the server, and its connection is shut from our side, which ends the wait.

WSGI does not tell which connection a request came by, but the kernel tells of each when it last brought
data and when it last took some: one that has taken none since, and goes on so, is not answered. The kernel's
clock ticks every four milliseconds: a connection that was answered within a tick and is idle looks as one that
waits, so it may be cut as well while another waits too long. Clients open idle connections again.

The server has read what the connection brought, and tells the application of a client its address alone. So a
connection's request is known when it is the only one that waits of its address; the answer then has its path and id.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from flask import Response

from model_service.answers import request_id_of
from model_service.errors import TooLateError
from model_service.limits import InFlight
from model_service.problems import OIP_ROOT, problem_of
from model_service.unforeseen import log_unforeseen
from model_service.visit import Visit

log = logging.getLogger(__name__)

# Offsets in Linux' struct tcp_info (include/uapi/linux/tcp.h) of tcpi_last_data_sent and tcpi_last_data_recv, both
# in milliseconds ago, tcpi_bytes_received, and tcpi_data_segs_out.
_SENT, _RECEIVED, _TAKEN, _GIVEN = 44, 52, 128, 156
_TCP_INFO: Final = 11
_LENGTH: Final = 160
_PAUSE: Final = 1.0


class _Waiting(NamedTuple):
    """Of one connection: its client's address, how many segments it was sent, and since when it waits for more."""

    peer: str
    given: int
    since: float


def watch_connections(port: int, seconds: float, in_flight: InFlight) -> None:
    """Have a thread end connections to `port` that are not answered for `seconds`.

    Parameters
    ----------
    port : int
        Where the service listens.
    seconds : float
        A little more may pass: it looks once a second.
    in_flight : InFlight
        The requests under way.
    """
    if sys.platform != "linux":
        log.warning("clients that never send their request whole are not cut off on this system")
        return
    patience = Patience(port, seconds, in_flight)

    def watch() -> None:
        pause, length = threading.Event(), min(_PAUSE, seconds / 4)
        while not pause.wait(length):
            if in_flight.oldest() > length:  # otherwise nobody waits for long, and it costs nothing to know
                try:
                    patience.look()
                except Exception as error:  # noqa: BLE001  # it must outlive whatever goes wrong in one look
                    log_unforeseen(log, "connections were not looked at; they are again in a second", error)

    threading.Thread(target=watch, name="patience", daemon=True).start()


class Patience:
    """Keeps in mind since when each connection of this process to `port` waits for an answer.

    Parameters
    ----------
    port : int
    seconds : float
        How long one may wait.
    in_flight : InFlight
        Among which the request is looked for that a connection brought.
    """

    def __init__(self, port: int, seconds: float, in_flight: InFlight) -> None:
        self._port, self._seconds, self._in_flight = port, seconds, in_flight
        self._waiting: dict[str, _Waiting] = {}

    def look(self) -> int:
        """Shut the connections that wait too long, and return how many."""
        visits = self._in_flight.visits()  # before the connections: each of these came by one that is seen, or is over
        now, waiting = time.monotonic(), {}
        for connection, (peer, port) in _connections(self._port):
            given = _given(connection)
            if given is None:
                continue
            name = f"{peer} {port}"
            known = self._waiting.get(name)
            since = known.since if known is not None and known.given == given else now
            waiting[name] = _Waiting(peer, given, since)
        self._waiting = waiting
        late = {name: each for name, each in waiting.items() if now - each.since > self._seconds}
        return self._cut(late, visits) if late else 0

    def _cut(self, late: Mapping[str, _Waiting], visits: Sequence[Visit]) -> int:
        waiting_of = Counter(each.peer for each in self._waiting.values())
        late_of = Counter(each.peer for each in late.values())
        for visit in visits:
            if 0 < late_of[visit.peer] == waiting_of[visit.peer]:  # whatever is under way from there ends now
                visit.cut_off = True
        request_ids = []
        for connection, (peer, port) in _connections(self._port):
            known = late.get(f"{peer} {port}")
            if known is None or known.given != _given(connection):  # in time, or answered just now
                continue
            theirs = [visit for visit in visits if visit.peer == peer]
            answer = too_late(self._seconds, theirs, waiting_of[peer])
            with suppress(OSError):  # it ended by itself
                connection.send(_on_the_wire(answer), socket.MSG_DONTWAIT)
                connection.shutdown(socket.SHUT_RDWR)
                request_ids.append(answer.headers["X-Request-ID"])
        if request_ids:
            ids = ", ".join(request_ids)
            log.warning(
                "%s connection(s) were cut, after %s s: answered 408 as %s", len(request_ids), self._seconds, ids
            )
        return len(request_ids)


def too_late(seconds: float, visits: Sequence[Visit], waiting: int) -> Response:
    """Return what is answered on a connection that waits for `seconds`.

    Parameters
    ----------
    seconds : float
    visits : sequence of Visit
        The requests that are under way from the connection's address.
    waiting : int
        How many connections from there wait for an answer. When there is one of both, they belong together; otherwise
        nobody knows which came by which, and no request's path or id is told on what may be another's connection.
    """
    if len(visits) == waiting == 1:
        (visit,) = visits
        answer = problem_of(TooLateError(seconds), visit.path, visit.request_id, values=False)
        if visit.traceparent is not None:
            answer.headers["traceparent"] = visit.traceparent
        return answer
    request_id = request_id_of(None)
    oip = bool(visits) and all(visit.path.startswith(OIP_ROOT) for visit in visits)
    return problem_of(
        TooLateError(seconds), OIP_ROOT if oip else f"urn:sluice:request:{request_id}", request_id, values=False
    )


def _on_the_wire(answer: Response) -> bytes:
    head = (f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in answer.headers), "Connection: close")
    return "\r\n".join((*head, "", "")).encode("latin-1") + answer.get_data()


def _connections(port: int) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Yield this process's connections to `port`, each with its client's address and port, closed afterwards."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            copy = os.dup(int(entry.name))
        except OSError:  # closed meanwhile
            continue
        try:
            connection = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        with connection:
            try:
                ours = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getsockname()[1] == port
                peer = connection.getpeername()[:2] if ours else ("", 0)  # the listening socket has none
            except OSError:
                continue
            if ours:
                yield connection, peer


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
