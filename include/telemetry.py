"""Metrics that are sent to a StatsD server over UDP, if one is configured, and warnings of faults that last.

A failure to send never fails a run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

PREFIX = "sluice"
REPEAT_SECONDS = 60.0


class Telemetry:
    """Counters, timers and gauges, with the prefix ``sluice.``.

    Parameters
    ----------
    host : str or None
        Host of the StatsD server; None: nothing is sent.
    port : int
        Its UDP port.
    """

    def __init__(self, host: str | None, port: int = 8125) -> None:
        self._client = _client(host, port) if host else None

    def count(self, name: str, value: int = 1) -> None:
        """Add `value` to the counter ``sluice.<name>``."""
        if self._client is not None:
            self._client.incr(name, value)

    def seconds(self, name: str, value: float) -> None:
        """Send the duration `value`, in seconds, as the timer ``sluice.<name>``.

        The protocol's timers are in milliseconds, so milliseconds are sent; exporters convert them back.
        """
        if self._client is not None:
            self._client.timing(name, value * 1000.0)

    def gauge(self, name: str, value: float) -> None:
        """Set the gauge ``sluice.<name>`` to `value`, which must not be negative.

        A minus sign means "decrease by" in the protocol.
        """
        if self._client is not None:
            self._client.gauge(name, value)

    def close(self) -> None:
        """Close the socket. Not needed in a process that ends soon."""
        if self._client is not None:
            self._client.close()

    @contextmanager
    def step(self, model: str, step: str) -> Iterator[None]:
        """Time a step of the pipeline and count its successes and failures.

        Sends ``sluice.<model>.<step>.seconds``, and ``….ok`` or ``….failed``.
        """
        started = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        finally:
            self.seconds(f"{model}.{step}.seconds", time.monotonic() - started)
            self.count(f"{model}.{step}.{outcome}")


class FaultLog:
    """Reports a fault that may last, such as a full disk: when it begins, then once a minute, and when it has ended.

    Parameters
    ----------
    log : logging.Logger
    what : str
        What does not work while the fault lasts, with the consequence: the begin of the sentence that is logged.
    clock : callable
        Returns seconds that never decrease.
    """

    def __init__(self, log: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._what, self._clock = log, what, clock
        self._next_at = float("-inf")
        self._reported = False

    def failed(self, cause: str) -> None:
        """Report that it does not work because of `cause`, which must contain no data of a caller."""
        now = self._clock()
        if now >= self._next_at:  # not sooner after an end either: a nearly full disk fails every other time
            self._next_at = now + REPEAT_SECONDS
            self._reported = True
            self._log.warning("%s: %s", self._what, cause)

    def worked(self) -> None:
        """Report that it works again, if a fault was reported before."""
        if self._reported:
            self._reported = False
            self._log.warning("%s: this has ended", self._what)


def _client(host: str, port: int) -> Any:  # the statsd package ships no types
    # Imported here: the service imports this module too, and needs no client when no host is named.
    from statsd import StatsClient

    try:
        return StatsClient(host, port, prefix=PREFIX)
    except OSError as error:
        log.warning(
            "no metrics are sent: the StatsD host %s cannot be resolved (%s); correct SLUICE_STATSD_HOST", host, error
        )
        return None
