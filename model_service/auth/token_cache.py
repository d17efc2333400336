"""Verified tokens are remembered: a signature costs 34 to 54 microseconds, remembering it a tenth of one."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import time

from model_service.http.principal import Principal

MOST_TOKENS = 4096
# Also a token that is good for a day is looked at again by then: its key may have been withdrawn. With the time that
# a set of keys is kept (`keys.SET_SECONDS`) it makes less than five minutes, which is what the reference promises.
MOST_SECONDS = 60.0
# Longer ones are verified each time, so that what is remembered stays below 8 MiB.
LONGEST_TOKEN = 2048


class TokenCache:
    """Answers as `verify` would, and asks it only once in a while.

    Parameters
    ----------
    verify : callable
        Takes a token and returns its `Principal`, or raises.
    most : int
        How many tokens are remembered; the one remembered longest is forgotten first.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(
        self, verify: Callable[[str], Principal], most: int = MOST_TOKENS, clock: Callable[[], float] = time
    ) -> None:
        self._verify = verify
        self._most = most
        self._clock = clock
        self._known: dict[str, tuple[Principal, float]] = {}
        self._writing = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def principal_of(self, token: str) -> Principal:
        """Return who bears `token`, or raise what `verify` raises. A refusal is not remembered."""
        found = self._known.get(token)
        if found is not None and self._clock() < found[1]:
            return found[0]
        principal = self._verify(token)
        if len(token) <= LONGEST_TOKEN:
            self._remember(token, principal)
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        until = min(principal.expires, self._clock() + MOST_SECONDS)
        with self._writing:
            self._known.pop(token, None)
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[token] = (principal, until)
