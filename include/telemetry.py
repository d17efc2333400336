"""Metrics that are sent to a StatsD server over UDP, if one is configured. A failure to send never fails a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

PREFIX = "sluice"


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
