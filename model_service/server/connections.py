"""The connections of this process: which are open, and which are closed because there are too many.

Whoever can reach the port can open connections and send nothing: each takes a descriptor and memory until the idle
timeout. A worker accepts a limited number; beyond it, new connections wait in the kernel, good ones among them. So a
thread counts the connections, and closes idle ones before that happens.

Addresses share the limit fairly: those with the most connections lose first, each down to the same number. Of an
address, the connections on which nothing was ever received are closed first, then idle ones, the longest idle first,
and then those whose request has not become complete for some seconds. A connection whose request is being answered
is not closed.

Source: https://man7.org/linux/man-pages/man7/tcp.7.html, ``TCP_INFO`` and ``TCP_USER_TIMEOUT``
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

CloseReason = Literal["worker_limit", "address_limit"]

# Offsets in Linux' struct tcp_info (include/uapi/linux/tcp.h) of tcpi_last_data_sent and tcpi_last_data_recv, both
# in milliseconds ago, tcpi_bytes_received, and tcpi_data_segs_out.
_LAST_SENT, _LAST_RECEIVED, _BYTES_RECEIVED, _SEGMENTS_SENT = 44, 52, 128, 156
_TCP_INFO: Final = 11
_TCP_USER_TIMEOUT: Final = 18
_LENGTH: Final = 160

INTERVAL_SECONDS: Final = 1.0
BUSY_INTERVAL_SECONDS: Final = 0.2
_FRESH_SECONDS: Final = 1.0  # a client that was just answered may be about to send again
_UNFINISHED_SECONDS: Final = 2.0
_LOG_SECONDS: Final = 10.0


class TcpActivity(NamedTuple):
    """What the kernel knows of a connection; times in seconds ago."""

    bytes_received: int
    segments_sent: int
    last_sent: float
    last_received: float

    @property
    def is_waiting(self) -> bool:
        """Whether the connection has sent nothing since it received data: it may wait for a response.

        Also true if it was answered within a tick of the kernel's clock, which is four milliseconds.
        """
        return self.bytes_received > 0 and self.last_received <= self.last_sent


def tcp_activity(connection: socket.socket) -> TcpActivity | None:
    """Return the activity of a connection; None if the kernel does not report it (before Linux 4.6)."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LENGTH)
    except OSError:
        return None
    if len(info) < _LENGTH:
        return None
    (sent,), (received,) = struct.unpack_from("I", info, _LAST_SENT), struct.unpack_from("I", info, _LAST_RECEIVED)
    (octets,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
    (segments,) = struct.unpack_from("I", info, _SEGMENTS_SENT)
    return TcpActivity(octets, segments, sent / 1000, received / 1000)


def open_connections(port: int) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Yield a duplicate of each connection to `port` with its client's address and port; close it afterwards."""
    for descriptor, _ in _sockets():
        if (connection := _duplicate(descriptor)) is None:
            continue
        with connection:
            if (remote := _remote(connection, port)) is not None:
                yield connection, remote


def _sockets() -> Iterator[tuple[int, int]]:
    """Yield the descriptor and the inode of each socket of this process."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # closed meanwhile
            status = os.fstat(int(entry.name))
            # Never of a file: closing a duplicate would release the locks that this process has on the file.
            if stat.S_ISSOCK(status.st_mode):
                yield int(entry.name), status.st_ino


def _duplicate(descriptor: int) -> socket.socket | None:
    try:
        copy = os.dup(descriptor)
    except OSError:  # closed meanwhile
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def _remote(connection: socket.socket, port: int) -> tuple[str, int] | None:
    """Return the client's address and port; None if this is no connection to `port`."""
    try:
        if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getsockname()[1] == port:
            address: tuple[str, int] = connection.getpeername()[:2]  # the listening socket has none
            return address
    except OSError:
        pass
    return None


class _Connection(NamedTuple):
    """An open connection, named by descriptor and inode: descriptors alone are used again."""

    descriptor: int
    inode: int
    remote_addr: str
    opened: float


# What to close first: never used (0), idle (1), unfinished (2), and then what has been so for the longest time.
_Rank = tuple[int, float]


class ConnectionPruner:
    """Keeps the connections of this process to `port` within limits.

    Parameters
    ----------
    port : int
    limit : int
        Maximum number of connections of this process.
    limit_per_address : int
        Maximum number of connections from one address other than a loopback address; 0: no limit.
    unread_seconds : float
        How long a client may leave a response unread before the kernel closes its connection.
    on_close : callable
        Called with the reason and the number of connections closed.
    """

    def __init__(
        self,
        port: int,
        limit: int,
        limit_per_address: int,
        unread_seconds: float,
        on_close: Callable[[CloseReason, int], None],
    ) -> None:
        self._port, self._limit, self._limit_per_address = port, limit, limit_per_address
        self._unread_milliseconds = round(1000 * unread_seconds)
        self._on_close = on_close
        # By descriptor and inode; None: another socket of this process, or one that was closed.
        self._connections: dict[tuple[int, int], _Connection | None] = {}
        self._closed, self._logged = 0, float("-inf")

    def sweep(self) -> int:
        """Close connections beyond the limits, and return how many are open."""
        self._look()
        closed: Counter[CloseReason] = Counter()
        if self._limit_per_address:
            for address, connections in self._by_address().items():
                excess = len(connections) - self._limit_per_address
                if excess > 0 and not _is_loopback(address):
                    closed["address_limit"] += self._close([connections], excess, self._limit_per_address)
        by_address = self._by_address()
        excess = sum(map(len, by_address.values())) - self._limit
        if excess > 0:
            share = fair_share(map(len, by_address.values()), self._limit)
            closed["worker_limit"] += self._close(list(by_address.values()), excess, share)
        counts = Counter({address: len(each) for address, each in self._by_address().items()})
        self._tell(closed, counts)
        return counts.total()

    def _by_address(self) -> dict[str, list[_Connection]]:
        found: dict[str, list[_Connection]] = defaultdict(list)
        for each in self._connections.values():
            if each is not None:
                found[each.remote_addr].append(each)
        return found

    def _look(self) -> None:
        """Update the connections. Only new ones are examined: this runs while requests are answered."""
        now, before = time.monotonic(), self._connections
        self._connections = {}
        for key in _sockets():
            if key in before:
                self._connections[key] = before[key]
                continue
            connection = _duplicate(key[0])
            if connection is None:
                continue
            with connection:
                remote = _remote(connection, self._port)
                if remote is not None:
                    with suppress(OSError):  # it ended already
                        connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, self._unread_milliseconds)
                self._connections[key] = None if remote is None else _Connection(*key, remote[0], now)

    def _close(self, addresses: list[list[_Connection]], number: int, share: int) -> int:
        """Close at most `number` connections of `addresses`, and of each address those beyond `share`."""
        candidates: list[tuple[_Rank, _Connection]] = []
        for connections in addresses:
            if len(connections) > share:
                ranked = [(rank, each) for each in connections if (rank := self._rank(each)) is not None]
                ranked.sort()
                candidates += ranked[: len(connections) - share]
        candidates.sort()
        closed = 0
        for _, each in candidates[:number]:
            # Looked at again: a request may have come.
            if self._rank(each, close=True) is not None:
                self._connections[each.descriptor, each.inode] = None  # even if it is not gone by the next sweep
                closed += 1
        return closed

    def _rank(self, known: _Connection, *, close: bool = False) -> _Rank | None:
        """Return what is lower the sooner a connection should be closed, and close it; None: it must stay."""
        connection = _duplicate(known.descriptor)
        if connection is None:
            return None
        with connection:
            activity = tcp_activity(connection)
            # A descriptor is used again when its connection has ended.
            if activity is None or os.fstat(connection.fileno()).st_ino != known.inode:
                return None
            age = time.monotonic() - known.opened
            if activity.bytes_received == 0:
                rank, since, least = 0, age, 0.0
            elif activity.is_waiting:
                rank, since, least = 2, min(age, activity.last_sent), _UNFINISHED_SECONDS
            else:
                rank, since, least = 1, activity.last_sent, _FRESH_SECONDS
            if since < least:
                return None
            if close:
                with suppress(OSError):  # the client closed it
                    connection.shutdown(socket.SHUT_RDWR)
            return rank, -since

    def _tell(self, closed: Counter[CloseReason], counts: Counter[str]) -> None:
        for reason, number in closed.items():
            if number:
                self._on_close(reason, number)
        self._closed += closed.total()
        left = counts.total()
        if (self._closed or left > self._limit) and time.monotonic() - self._logged > _LOG_SECONDS:
            ((address, count),) = counts.most_common(1) or [("nowhere", 0)]
            log.warning(
                "%s idle connection(s) closed beyond SLUICE_SERVICE_MAX_CONNECTIONS (%s) or "
                "SLUICE_SERVICE_MAX_CONNECTIONS_PER_ADDRESS (%s); %s are open, of which %s from %s",
                self._closed,
                self._limit,
                self._limit_per_address or "no limit",
                left,
                count,
                address,
            )
            self._logged, self._closed = time.monotonic(), 0


def fair_share(counts: Iterable[int], limit: int) -> int:
    """Return the largest number such that `counts`, each cut to it, have a sum of at most `limit`.

    >>> fair_share([10, 500, 700], 1000), fair_share([10, 20], 1000), fair_share([1, 1, 1], 2)
    (495, 20, 0)
    """
    rest = sorted(counts)
    for index, count in enumerate(rest):
        share = limit // (len(rest) - index)
        if count > share:
            return share
        limit -= count
    return max(rest, default=0)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def start_connection_limits(pruner: ConnectionPruner, limit: int, on_sweep: Callable[[int], None]) -> None:
    """Start the thread that keeps the connections within their limits (on Linux).

    Parameters
    ----------
    pruner : ConnectionPruner
    limit : int
        The pruner's limit: it looks more often from half of it.
    on_sweep : callable
        Called with the number of open connections after each look.
    """
    if sys.platform != "linux":
        log.warning("connections beyond the limits are not closed on this system: it needs Linux")
        return

    def prune() -> None:
        interval = INTERVAL_SECONDS
        while True:
            time.sleep(interval)
            try:
                count = pruner.sweep()
                on_sweep(count)
                interval = BUSY_INTERVAL_SECONDS if count > limit / 2 else INTERVAL_SECONDS
            except Exception as error:  # noqa: BLE001  # the thread must survive any failure of one sweep
                log_unexpected(log, "checking the number of connections failed; it is retried", error)

    threading.Thread(target=prune, name="connection-limits", daemon=True).start()
