"""Limits on concurrent requests, large bodies and the request rate of a caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import BoundedSemaphore, Lock
from time import monotonic, perf_counter_ns
from typing import Final

from model_service.http.errors import CallerOverloadedError, OverloadedError, RateLimitedError
from model_service.http.request_context import RequestContext
from model_service.server.cpu_affinity import usable_cores

MAX_CALLERS: Final = 10_000
SMALL_BODY_BYTES: Final = 2_048


class ConcurrencyLimiter:
    """The requests that a worker processes now, up to a limit, and up to a lower one for each caller.

    One caller whose requests are slow, or never end, leaves places to the others.

    Parameters
    ----------
    limit : int
        A request beyond the limit is refused immediately, not queued: the client can then try another worker or wait.
    per_caller : int, optional
        The limit of one caller; by default none of its own.
    """

    def __init__(self, limit: int, per_caller: int | None = None) -> None:
        self._limit = limit
        self._per_caller = limit if per_caller is None else per_caller
        self._lock = Lock()
        self._contexts: set[RequestContext] = set()
        self._callers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._contexts)

    def acquire(self, context: RequestContext) -> None:
        """Add a request.

        Raises
        ------
        OverloadedError
            If the limit is reached; the request is not added.
        """
        with self._lock:
            if len(self._contexts) >= self._limit:
                raise OverloadedError(self._limit)
            self._contexts.add(context)

    def assign(self, context: RequestContext, caller: str) -> None:
        """Count a request, which was acquired, for its caller.

        Raises
        ------
        CallerOverloadedError
            If the caller's limit is reached. The request still has its place, until it is released.
        """
        with self._lock:
            count = self._callers.get(caller, 0)
            if count >= self._per_caller:
                raise CallerOverloadedError(self._per_caller)
            self._callers[caller] = count + 1
            context.counted_for = caller

    def release(self, context: RequestContext) -> None:
        """Remove a request."""
        with self._lock:
            self._contexts.discard(context)
            caller, context.counted_for = context.counted_for, None
            if caller is not None:
                left = self._callers[caller] - 1
                if left:
                    self._callers[caller] = left
                else:
                    del self._callers[caller]

    def contexts(self) -> list[RequestContext]:
        """Return the requests in progress, in no particular order."""
        with self._lock:
            return list(self._contexts)

    def oldest_age(self) -> float:
        """Return the age of the oldest request in seconds; 0 if there is none."""
        with self._lock:
            started = min((each.started for each in self._contexts), default=None)
        return 0.0 if started is None else (perf_counter_ns() - started) / 1e9

    def is_stuck(self, seconds: float) -> bool:
        """Return whether the limit is reached and every request lasts longer than `seconds`."""
        with self._lock:
            if len(self._contexts) < self._limit:
                return False
            newest = max(each.started for each in self._contexts)
        return (perf_counter_ns() - newest) / 1e9 > seconds


class LargeBodySemaphore:
    """Limits how many large bodies are processed at the same time; small bodies never wait.

    A decoded large body takes many times its size in memory, and processing it occupies a whole core. Processing more
    of them than there are cores would answer none sooner, would take more memory and would evict CPU caches. A worker
    that is pinned to one core processes one at a time; other workers at least two, as there may be idle cores.

    Parameters
    ----------
    workers : int
        Number of processes that share the machine's cores.
    """

    def __init__(self, workers: int) -> None:
        cores = usable_cores()
        # For one, a lock: waiting for a semaphore is written in Python and wakes two locks each time.
        self._large = Lock() if cores == 1 else BoundedSemaphore(max(2, -(-cores // workers)))
        self._small = nullcontext()

    def limit(self, body: bytes) -> AbstractContextManager[object]:
        """Return the context manager to enter while `body` is processed."""
        return self._small if len(body) <= SMALL_BODY_BYTES else self._large


class RateLimiter:
    """A token bucket per caller: `burst` requests immediately, then `rate` requests a second.

    It is implemented as the generic cell rate algorithm (ITU-T I.371), which stores one number per caller: the time at
    which the bucket is full again. Memory is bounded to `max_callers` callers: those whose bucket is full are removed
    first, which changes nothing for them.

    Parameters
    ----------
    rate : float
        Requests a second of one caller, over all workers.
    burst : float
        Size of the bucket, over all workers; at least 1 for each worker.
    clock : callable
        Returns seconds that never decrease.
    max_callers : int
        Maximum number of callers that are counted.
    workers : int
        Number of workers. Each counts by itself and allows its share of the rate.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = monotonic,
        max_callers: int = MAX_CALLERS,
        *,
        workers: int = 1,
    ) -> None:
        self._rate, self._workers = rate, workers
        self._interval = workers / rate
        self._tolerance = (max(burst / workers, 1.0) - 1.0) * self._interval
        self._clock = clock
        self._max_callers = max_callers
        self._full_at: dict[str, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def acquire(self, caller: str) -> None:
        """Count one request of `caller`.

        Raises
        ------
        RateLimitedError
            If it comes too early; the error tells when the next one is allowed. A refused request is not counted.
        """
        now = self._clock()
        with self._lock:
            full_at = self._full_at.get(caller, 0.0)
            full_at = max(full_at, now)
            wait = full_at - now - self._tolerance
            if wait > 1e-9:  # rounding error of the sums
                raise RateLimitedError(self._rate, self._workers, wait)
            if caller not in self._full_at and len(self._full_at) >= self._max_callers:
                self._evict(now)
            self._full_at[caller] = full_at + self._interval

    def _evict(self, now: float) -> None:
        self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        while len(self._full_at) > self._max_callers * 0.9:  # several at once, because a full scan is slow
            del self._full_at[next(iter(self._full_at))]
