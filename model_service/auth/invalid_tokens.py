"""Bounds how many invalid tokens of one address are verified: a signature takes 34 to 54 microseconds of a core."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final

from model_service.http.errors import TooManyInvalidTokensError

MAX_ADDRESSES: Final = 10_000


class InvalidTokenLimiter:
    """Counts the invalid tokens of each address, second by second.

    Parameters
    ----------
    rate : float
        Invalid tokens a second of one address, over all workers; 0: no limit.
    workers : int
        Number of workers. Each counts by itself and allows its share, at least one.
    clock : callable
        Returns seconds that never decrease.
    max_addresses : int
        Maximum number of addresses that are counted; the oldest one is forgotten.
    """

    def __init__(
        self,
        rate: float,
        workers: int = 1,
        clock: Callable[[], float] = monotonic,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._rate, self._limit = rate, max(1.0, rate / workers)
        self._clock = clock
        self._max_addresses = max_addresses
        self._counts: dict[str, tuple[float, int]] = {}  # by network: start of the second, number
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._counts)

    def check(self, address: str) -> None:
        """Refuse to verify a token from `address`, if too many were invalid in this second; "": not known, no limit.

        Raises
        ------
        TooManyInvalidTokensError
            It tells when the next token is verified.
        """
        if not self._counts or not self._rate or not address:
            return
        start, count = self._counts.get(_network_of(address), (0.0, 0))
        wait = start + 1.0 - self._clock()
        if count >= self._limit and wait > 0:
            raise TooManyInvalidTokensError(self._rate, wait)

    def add(self, address: str) -> None:
        """Count an invalid token."""
        if not self._rate or not address:
            return
        network, now = _network_of(address), self._clock()
        with self._lock:
            start, count = self._counts.pop(network, (now, 0))
            if now - start >= 1.0:
                start, count = now, 0
            while len(self._counts) >= self._max_addresses:
                del self._counts[next(iter(self._counts))]
            self._counts[network] = start, count + 1


def _network_of(address: str) -> str:
    """Return what one caller has: an address of IPv4, or the first half of one of IPv6.

    >>> [_network_of(each) for each in ("192.0.2.7", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.7", "unix")]
    ['192.0.2.7', '20010db800000000', '20010db800000000', '192.0.2.7', 'unix']
    """
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{int(parsed) >> 64:016x}"
