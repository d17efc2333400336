"""A short load over a few persistent connections, and its response times."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from include.rehearsal.environment import ANSWER_SECONDS, HOST

CONNECTIONS = 4
REQUESTS = 600
WARM_UP = 100
MAX_SECONDS = 5.0
_OK = b"HTTP/1.1 200"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Timings:
    """The result of a load.

    Parameters
    ----------
    milliseconds : list of float
        From the first byte sent to the last received, for each answer after the warm-up.
    refused : int
        Requests that were not answered with status 200, or not at all.
    """

    milliseconds: list[float] = field(default_factory=list)
    refused: int = 0

    def percentile(self, share: float) -> float | None:
        """Return the smallest time within which at least `share` of the answers came; None without answers."""
        if not self.milliseconds:
            return None
        ordered = sorted(self.milliseconds)
        # Nearest rank: one of the measured times, without interpolation.
        return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def run_load(
    port: int,
    path: str,
    headers: dict[str, str],
    bodies: Sequence[bytes],
    *,
    requests: int = REQUESTS,
    warm_up: int = WARM_UP,
    max_seconds: float = MAX_SECONDS,
) -> Timings:
    """Send `requests` after a warm-up, one at a time on each connection, and time each.

    This one thread serves all connections. Python threads would wait for each other, and this time would be measured as
    the service's.

    Parameters
    ----------
    bodies : sequence of bytes
        The bodies of the requests, sent in turn.
    max_seconds : float
        After this time the load ends, with the answers received so far.
    """
    timings = Timings()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    messages = cycle(
        [f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
         for body in bodies]
    )  # fmt: skip
    todo = islice(messages, warm_up + requests)
    answered = 0
    deadline = time.perf_counter() + max_seconds
    with selectors.DefaultSelector() as selector:
        open_ones = {_Connection(port) for _ in range(CONNECTIONS)}
        try:
            for each in open_ones:
                selector.register(each.socket, selectors.EVENT_READ, each)
                each.send(next(todo))
            while selector.get_map():
                ready = selector.select(ANSWER_SECONDS)
                if not ready:  # no connection is answered any more
                    timings.refused += len(selector.get_map())
                    break
                for key, _ in ready:
                    connection: _Connection = key.data
                    status = connection.receive()
                    if status is None:
                        continue
                    answered += 1
                    if not status:
                        timings.refused += 1
                    elif answered > warm_up:
                        timings.milliseconds.append(connection.spent)
                    message = next(todo, None)
                    if message is None or connection.over or time.perf_counter() > deadline:
                        selector.unregister(connection.socket)
                    else:
                        connection.send(message)
        finally:
            for each in open_ones:
                each.socket.close()
    return timings


class _Connection:
    """One persistent connection with at most one pending request."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.over = False
        self.spent = 0.0
        self._sent = 0.0
        self._got = b""

    def send(self, message: bytes) -> None:
        self._got = b""
        self._sent = time.perf_counter()
        self.socket.sendall(message)

    def receive(self) -> bool | None:
        """Read the next bytes; return whether the status is 200 once the answer is complete, None before."""
        try:
            piece = self.socket.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            self.over = True
            return False
        self._got += piece
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < _length_of(head):
            return None
        self.spent = (time.perf_counter() - self._sent) * 1000
        return head.startswith(_OK)


def _length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(_LENGTH):
            return int(line.removeprefix(_LENGTH))
    return 0
