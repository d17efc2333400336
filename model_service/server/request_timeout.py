"""Ends connections whose request is not answered in time, so that no client keeps a worker's places for good.

A worker reads a body in a thread that waits until it is there; nothing in WSGI bounds that wait. But
work is bounded, by bytes, rows and the database's reaper: a request that is under way for longer
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

from model_service.http.errors import RequestTimeoutError
from model_service.http.limits import ConcurrencyLimiter
from model_service.http.problems import OIP_ROOT, problem_of
from model_service.http.request_context import RequestContext
from model_service.http.responses import request_id_of
from model_service.server.log_unexpected import log_unexpected

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


def start_request_timeout(port: int, seconds: float, in_flight: ConcurrencyLimiter) -> None:
    """Have a thread end connections to `port` that are not answered for `seconds`.

    Parameters
    ----------
    port : int
        Where the service listens.
    seconds : float
        A little more may pass: it looks once a second.
    in_flight : ConcurrencyLimiter
        The requests under way.
    """
    if sys.platform != "linux":
        log.warning("clients that never send their request whole are not cut off on this system")
        return
    reaper = SlowRequestReaper(port, seconds, in_flight)

    def watch() -> None:
        pause, length = threading.Event(), min(_PAUSE, seconds / 4)
        while not pause.wait(length):
            if in_flight.oldest() > length:  # otherwise nobody waits for long, and it costs nothing to know
                try:
                    reaper.sweep()
                except Exception as error:  # noqa: BLE001  # it must outlive whatever goes wrong in one look
                    log_unexpected(log, "connections were not looked at; they are again in a second", error)

    threading.Thread(target=watch, name="reaper", daemon=True).start()


class SlowRequestReaper:
    """Keeps in mind since when each connection of this process to `port` waits for an answer.

    Parameters
    ----------
    port : int
    seconds : float
        How long one may wait.
    in_flight : ConcurrencyLimiter
        Among which the request is looked for that a connection brought.
    """

    def __init__(self, port: int, seconds: float, in_flight: ConcurrencyLimiter) -> None:
        self._port, self._seconds, self._in_flight = port, seconds, in_flight
        self._waiting: dict[str, _Waiting] = {}

    def sweep(self) -> int:
        """Shut the connections that wait too long, and return how many."""
        contexts = (
            self._in_flight.contexts()
        )  # before the connections: each of these came by one that is seen, or is over
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
        return self._cut(late, contexts) if late else 0

    def _cut(self, late: Mapping[str, _Waiting], contexts: Sequence[RequestContext]) -> int:
        waiting_of = Counter(each.peer for each in self._waiting.values())
        late_of = Counter(each.peer for each in late.values())
        for context in contexts:
            if (
                0 < late_of[context.remote_addr] == waiting_of[context.remote_addr]
            ):  # whatever is under way from there ends now
                context.timed_out = True
        request_ids = []
        for connection, (peer, port) in _connections(self._port):
            known = late.get(f"{peer} {port}")
            if known is None or known.given != _given(connection):  # in time, or answered just now
                continue
            theirs = [context for context in contexts if context.remote_addr == peer]
            answer = timeout_response(self._seconds, theirs, waiting_of[peer])
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


def timeout_response(seconds: float, contexts: Sequence[RequestContext], waiting: int) -> Response:
    """Return what is answered on a connection that waits for `seconds`.

    Parameters
    ----------
    seconds : float
    contexts : sequence of RequestContext
        The requests that are under way from the connection's address.
    waiting : int
        How many connections from there wait for an answer. When there is one of both, they belong together; otherwise
        nobody knows which came by which, and no request's path or id is told on what may be another's connection.
    """
    if len(contexts) == waiting == 1:
        (context,) = contexts
        answer = problem_of(RequestTimeoutError(seconds), context.path, context.request_id, values=False)
        if context.traceparent is not None:
            answer.headers["traceparent"] = context.traceparent
        return answer
    request_id = request_id_of(None)
    oip = bool(contexts) and all(context.path.startswith(OIP_ROOT) for context in contexts)
    return problem_of(
        RequestTimeoutError(seconds), OIP_ROOT if oip else f"urn:sluice:request:{request_id}", request_id, values=False
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
