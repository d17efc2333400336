"""Sends timings and counts to StatsD, many per datagram, from a thread: a request never waits for a socket.

Sources
-------
https://github.com/statsd/statsd/blob/master/docs/metric_types.md: ``name:value|ms|@rate``, one per line.
"""

from __future__ import annotations

import logging
import re
import socket
from collections import deque
from collections.abc import Iterable
from random import random
from typing import Final

from include.telemetry import PREFIX
from model_service.http.request_context import RequestContext
from model_service.observability.metrics_buffer import MetricsBuffer, RequestKey

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 20_000
MAX_NAMES: Final = 10_000
MAX_DATAGRAM_BYTES: Final = 1432  # what one Ethernet frame carries, as StatsD recommends
_INVALID_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9-]+")


class StatsD:
    """Queues timings and sends them on `flush`.

    Parameters
    ----------
    host : str
    port : int
    rate : float
        Share of the requests whose timings are sent, above 0; each line contains it.
    """

    def __init__(self, host: str, port: int, rate: float) -> None:
        self._socket = _connected(host, port)
        self._rate = rate
        self._suffix = b"|ms" if rate >= 1 else f"|ms|@{rate:g}".encode()
        self._queue: deque[tuple[RequestKey, int, list[tuple[str, int]]]] = deque()
        self._names: dict[RequestKey, bytes] = {}
        self.dropped = 0

    def add(self, context: RequestContext, status: int, nanoseconds: int) -> None:
        """Queue the timings of a request, if it is in the sample."""
        if self._rate < 1 and random() >= self._rate:  # noqa: S311  # a sample, not a secret
            return
        if len(self._queue) < MAX_QUEUED:
            key = (context.route, context.model, context.version, status)
            self._queue.append((key, nanoseconds, context.timings))
        else:
            self.dropped += 1

    def flush(self, buffer: MetricsBuffer) -> None:
        """Send the queued timings, and the counts of `buffer`, which include all requests."""
        lines = [b"%s.requests:%d|c" % (self._name(key), each.request.count) for key, each in buffer.stats.items()]
        for _ in range(len(self._queue)):
            key, spent, timings = self._queue.popleft()
            name = self._name(key)
            for phase, nanoseconds in (("request", spent), *timings):
                lines.append(b"%s.%s:%.4f%s" % (name, phase.encode(), nanoseconds / 1e6, self._suffix))
        if self._socket is None:
            return
        for datagram in _datagrams(lines):
            try:
                self._socket.send(datagram)
            except OSError:  # no listener, or a full buffer: UDP may lose data
                self.dropped += datagram.count(b"\n") + 1

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def _name(self, key: RequestKey) -> bytes:
        name = self._names.get(key)
        if name is None:
            route, model, version, status = key
            parts = (model or "none", str(version or "none"), route, str(status))
            name = ".".join(
                (PREFIX, "service", *(_INVALID_CHARACTERS.sub("_", part).strip("_") for part in parts))
            ).encode()
            if len(self._names) >= MAX_NAMES:  # each version of a model that was requested has one
                self._names.clear()
            self._names[key] = name
        return name


def _connected(host: str, port: int) -> socket.socket | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        connected = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        connected.connect(address)
    except OSError as error:
        log.warning("no metrics are sent to StatsD: host %s: %s; correct SLUICE_STATSD_HOST", host, error)
        return None
    return connected


def _datagrams(lines: Iterable[bytes]) -> Iterable[bytes]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) + 1 > MAX_DATAGRAM_BYTES:
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield b"\n".join(batch)
