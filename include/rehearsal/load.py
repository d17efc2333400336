"""A short load over a few kept connections, and how long the answers took."""

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
MOST_SECONDS = 5.0
_OK = b"HTTP/1.1 200"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Timings:
    """What a load showed.

    Parameters
    ----------
    milliseconds : list of float
        From the first byte sent to the last received, one each answer after the warm-up.
    refused : int
        Requests that were answered with something else than 200, or not at all.
    """

    milliseconds: list[float] = field(default_factory=list)
    refused: int = 0

    def percentile(self, share: float) -> float | None:
        """Return the smallest time that at least `share` of the answers kept to; None when there is none."""
        if not self.milliseconds:
            return None
        ordered = sorted(self.milliseconds)
        # The nearest rank: no interpolation between answers that were given.
        return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def run_load(
    port: int,
    path: str,
    headers: dict[str, str],
    bodies: Sequence[bytes],
    *,
    requests: int = REQUESTS,
    warm_up: int = WARM_UP,
    most_seconds: float = MOST_SECONDS,
) -> Timings:
    """Send `requests` after a warm-up, always one a connection under way, and time each.

    All connections are served by this one thread, waiting on all at once: threads of Python would wait
    for each other, and that waiting would be taken for the service's.

    Parameters
    ----------
    bodies : sequence of bytes
        Asked in turn.
    most_seconds : float
        When this is over the load ends, with as many answers as came.
    """
    timings = Timings()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    messages = cycle(
        [f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
         for body in bodies]
    )  # fmt: skip
    todo = islice(messages, warm_up + requests)
    answered = 0
    deadline = time.perf_counter() + most_seconds
    with selectors.DefaultSelector() as selector:
        open_ones = {_Connection(port) for _ in range(CONNECTIONS)}
        try:
            for each in open_ones:
                selector.register(each.socket, selectors.EVENT_READ, each)
                each.send(next(todo))
            while selector.get_map():
                ready = selector.select(ANSWER_SECONDS)
                if not ready:  # nobody answers any more
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
    """One kept connection with at most one request under way."""

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
        """Take what came: whether the answer is 200 once it is whole, None before."""
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
