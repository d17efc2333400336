"""Closes connections whose request is not answered in time, so that slow clients do not occupy a worker for ever.

A worker reads a request body in a thread that waits for it; nothing in WSGI limits that wait. Processing is limited, by
bytes, rows and the timeout of database queries. So a request that is in progress for longer than any processing takes
waits for its client, which is silent or sends a byte now and then. It is answered 408 without the server, directly on
the connection's socket, and the connection is shut down from our side, which ends the wait.

WSGI does not tell which connection a request came from. But the kernel reports for each connection when it last
received data and when it last sent some: a connection that has sent nothing since it received data is not answered
yet. The kernel's clock ticks every four milliseconds: a connection that was answered within a tick and is idle looks
like one that waits, so it may be closed as well while another one waits too long. Clients reopen idle connections.

The server has read the data of a connection, and the application only knows the client's address. So the request of a
connection is known only if it is the only one in progress from its address; the response then has its path and id.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from flask import Response

from model_service.server.connections import open_connections, tcp_activity
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 1.0


class OpenRequest(Protocol):
    """A request in progress; `started` in the nanoseconds of ``time.perf_counter_ns``."""

    remote_addr: str
    started: int
    timed_out: bool


R = TypeVar("R", bound=OpenRequest)
R_co = TypeVar("R_co", bound=OpenRequest, covariant=True)


class OpenRequests(Protocol[R_co]):
    """The requests in progress."""

    def contexts(self) -> Sequence[R_co]:
        """Return them, in no particular order."""

    def oldest_age(self) -> float:
        """Return the age of the oldest in seconds; 0 if there is none."""


class _Waiting(NamedTuple):
    """Of a connection: the client's address, the number of segments sent, and since when it waits for more."""

    remote_addr: str
    segments: int
    since: float


def start_request_timeout(
    port: int,
    seconds: float,
    requests: OpenRequests[R],
    unread: OpenRequests[R],
    respond: Callable[[Sequence[R], int], Response],
) -> None:
    """Start a thread that closes connections to `port` that are not answered for `seconds`.

    Parameters
    ----------
    port : int
        The port of the service.
    seconds : float
        The timeout. The thread checks once a second, so a little more may pass.
    requests : OpenRequests
    unread : OpenRequests
        Those that were answered, but whose body is not received yet.
    respond : callable
        Returns the response; see `SlowRequestReaper`.
    """
    if sys.platform != "linux":
        log.warning("the request timeout is not enforced on this system: it needs Linux")
        return
    reaper = SlowRequestReaper(port, seconds, requests, unread, respond)

    def watch() -> None:
        pause, interval = threading.Event(), min(_SWEEP_SECONDS, seconds / 4)
        while not pause.wait(interval):
            # Otherwise no connection waits long, and checking this is cheap.
            if max(requests.oldest_age(), unread.oldest_age()) > interval:
                try:
                    reaper.sweep()
                except Exception as error:  # noqa: BLE001  # the thread must survive any failure of one sweep
                    log_unexpected(log, "checking connections for the request timeout failed; it is retried", error)

    threading.Thread(target=watch, name="request-timeout", daemon=True).start()


class SlowRequestReaper(Generic[R]):
    """Remembers since when each connection of this process to `port` waits for a response.

    Parameters
    ----------
    port : int
    seconds : float
        How long a connection may wait.
    requests : OpenRequests
        Among which the request of a connection is searched.
    unread : OpenRequests
        Those that were answered, but whose body is not received yet.
    respond : callable
        Takes the requests in progress from the connection's address, and the number of connections that wait for a
        response from there; returns the response. Request and connection belong together only if both are one.
    """

    def __init__(
        self,
        port: int,
        seconds: float,
        requests: OpenRequests[R],
        unread: OpenRequests[R],
        respond: Callable[[Sequence[R], int], Response],
    ) -> None:
        self._port, self._seconds, self._respond = port, seconds, respond
        self._requests, self._unread = requests, unread
        self._waiting: dict[str, _Waiting] = {}

    def sweep(self) -> int:
        """Close the connections that wait too long, and return how many."""
        # Before the connections: the connection of each of these requests is found below, or the request has ended.
        requests = self._requests.contexts()
        silent_from = self._silent_addresses()
        now, waiting = time.monotonic(), {}
        for connection, (remote_addr, port) in open_connections(self._port):
            activity = tcp_activity(connection)
            if activity is None:
                continue
            if not activity.is_waiting:
                if remote_addr in silent_from and activity.last_sent > self._seconds - _SWEEP_SECONDS:
                    with suppress(OSError):  # the client closed it
                        connection.shutdown(socket.SHUT_RDWR)
                continue
            segments = activity.segments_sent
            name = f"{remote_addr} {port}"
            known = self._waiting.get(name)
            since = known.since if known is not None and known.segments == segments else now
            waiting[name] = _Waiting(remote_addr, segments, since)
        self._waiting = waiting
        late = {name: each for name, each in waiting.items() if now - each.since > self._seconds}
        return self._close(late, requests) if late else 0

    def _silent_addresses(self) -> set[str]:
        """Return from where a client was answered long ago and still has not sent its body.

        Its connection looks like an idle one: idle ones from there are closed with it.
        """
        before = time.perf_counter_ns() - round(1e9 * self._seconds)
        return {each.remote_addr for each in self._unread.contexts() if each.started < before}

    def _close(self, late: Mapping[str, _Waiting], requests: Sequence[R]) -> int:
        waiting_from = Counter(each.remote_addr for each in self._waiting.values())
        late_from = Counter(each.remote_addr for each in late.values())
        for request in requests:
            # If all connections from an address are late, every request in progress from there ends now.
            if 0 < late_from[request.remote_addr] == waiting_from[request.remote_addr]:
                request.timed_out = True
        request_ids = []
        for connection, (remote_addr, port) in open_connections(self._port):
            known, activity = late.get(f"{remote_addr} {port}"), tcp_activity(connection)
            if known is None or activity is None or not activity.is_waiting:  # in time, or answered just now
                continue
            if known.segments != activity.segments_sent:
                continue
            same_addr = [request for request in requests if request.remote_addr == remote_addr]
            response = self._respond(same_addr, waiting_from[remote_addr])
            with suppress(OSError):  # the client closed it
                connection.send(_to_http(response), socket.MSG_DONTWAIT)
                connection.shutdown(socket.SHUT_RDWR)
                request_ids.append(response.headers["X-Request-ID"])
        if request_ids:
            ids = ", ".join(request_ids)
            log.warning(
                "%s connection(s) closed with 408 after %s s; request ids: %s", len(request_ids), self._seconds, ids
            )
        return len(request_ids)


def _to_http(response: Response) -> bytes:
    head = (
        f"HTTP/1.1 {response.status}",
        *(f"{name}: {value}" for name, value in response.headers),
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode("latin-1") + response.get_data()
