"""How much is taken at once: requests under way, large bodies, requests of one caller, nesting of JSON."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import BoundedSemaphore, Lock
from time import monotonic, perf_counter_ns
from typing import Final

import numpy as np

from model_service.http.errors import MalformedBodyError
from model_service.http.refusals import OverloadedError, RateLimitedError
from model_service.http.request_context import RequestContext
from model_service.server.cpu_affinity import usable_cores

MAX_CALLERS: Final = 10_000
SMALL_BODY_BYTES: Final = 2_048
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_MARK: Final = bytes(each for each in range(256) if each not in b'[]{}"')


class ConcurrencyLimiter:
    """The requests that a worker has under way.

    Parameters
    ----------
    most : int
        One more is refused, at once: a caller that knows can ask another worker or wait, one in an
        endless queue cannot.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counting = Lock()
        self._contexts: set[RequestContext] = set()

    def __len__(self) -> int:
        return len(self._contexts)

    def acquire(self, context: RequestContext) -> None:
        """Count `context`.

        Raises
        ------
        OverloadedError
            If there are as many as may be; nothing is counted then.
        """
        with self._counting:
            if len(self._contexts) >= self._most:
                raise OverloadedError(self._most)
            self._contexts.add(context)

    def release(self, context: RequestContext) -> None:
        """Count `context` no more."""
        with self._counting:
            self._contexts.discard(context)

    def contexts(self) -> list[RequestContext]:
        """Return those that are under way, in no order."""
        with self._counting:
            return list(self._contexts)

    def oldest(self) -> float:
        """Return for how many seconds the oldest is under way; 0 when none is."""
        with self._counting:
            started = min((each.started for each in self._contexts), default=None)
        return 0.0 if started is None else (perf_counter_ns() - started) / 1e9


class LargeBodySemaphore:
    """Bodies that are large are worked on a few at a time; small ones wait for nobody.

    A large body takes many times its bytes once decoded, and computing on it takes all of a core: more of them
    at once than there are cores would answer none sooner, and only take memory, and each other's caches. A worker
    that stays on one core works on one; others on two at least, as the kernel may have cores to spare.

    Parameters
    ----------
    workers : int
        Processes that share the machine's cores.
    """

    def __init__(self, workers: int) -> None:
        cores = usable_cores()
        # A lock for one: a semaphore's waiting is written in Python, and wakes two locks for each turn.
        self._large = Lock() if cores == 1 else BoundedSemaphore(max(2, -(-cores // workers)))
        self._small = nullcontext()

    def limit(self, body: bytes) -> AbstractContextManager[object]:
        """Return what is entered while `body` is worked on."""
        return self._small if len(body) <= SMALL_BODY_BYTES else self._large


class RateLimiter:
    """A token bucket a caller: `burst` requests at once, then `rate` a second.

    Kept as the generic cell rate algorithm keeps it, one time a caller (ITU-T I.371): the moment at
    which the bucket is full again. Memory is bounded: of `MAX_CALLERS` callers that are counted, those
    whose bucket is full are forgotten first, which changes nothing for them.

    Parameters
    ----------
    rate : float
        Requests a second, over all workers.
    burst : float
        Requests at once, over all workers; a worker grants 1 at least.
    clock : callable
        Seconds, never going back.
    most : int
        Callers that are counted.
    workers : int
        Each counts for itself and grants its share: they share the callers' requests.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = monotonic,
        most: int = MAX_CALLERS,
        *,
        workers: int = 1,
    ) -> None:
        self._rate, self._workers = rate, workers
        self._between = workers / rate
        self._ahead = (max(burst / workers, 1.0) - 1.0) * self._between
        self._clock = clock
        self._most = most
        self._full_at: dict[str, float] = {}
        self._counting = Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def acquire(self, caller: str) -> None:
        """Take one request of `caller`.

        Raises
        ------
        RateLimitedError
            If it comes too early; it says when the next may come. A refused request costs nothing.
        """
        now = self._clock()
        with self._counting:
            full_at = self._full_at.get(caller, 0.0)
            full_at = max(full_at, now)
            wait = full_at - now - self._ahead
            if wait > 1e-9:  # what sums of floats differ by
                raise RateLimitedError(self._rate, self._workers, wait)
            if caller not in self._full_at and len(self._full_at) >= self._most:
                self._forget(now)
            self._full_at[caller] = full_at + self._between

    def _forget(self, now: float) -> None:
        self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        while len(self._full_at) > self._most * 0.9:  # some at once: looking at all of them takes a while
            del self._full_at[next(iter(self._full_at))]


def check_depth(body: bytes, most: int) -> None:
    """Refuse JSON that is nested deeper than `most`, before a parser sees it.

    Everything but brackets is removed, and those are added up: one pass, whatever is sent. What is no
    JSON is left for the parser to refuse.

    Raises
    ------
    MalformedBodyError
        If it is nested deeper.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return
    # In JSON, backslashes stand in strings only, and so does what lies between two quotes.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_BRACKETS, _NO_MARK)
    left = np.frombuffer(b"".join(marks.split(b'"')[::2]), dtype=np.int8)
    # "[" is 0x5B and "]" 0x5D: one up, one down.
    if np.cumsum(0x5C - left, dtype=np.int32).max(initial=0) > most:
        raise MalformedBodyError(f"expected at most {most} levels of nesting; found more (SLUICE_SERVICE_MAX_DEPTH)")
