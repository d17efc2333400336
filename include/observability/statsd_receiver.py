"""Receives StatsD lines and shows them as Prometheus series, with a bound on their number.

Whoever can send to the port chooses names, labels and values. So unknown names are dropped, a metric has at most
`MAX_SERIES` series, and a label at most `MAX_LABEL_LENGTH` characters: what is beyond is counted under the label
`OTHER`, so that sums stay right. Lines that cannot be understood are counted and dropped.

Sources
-------
https://github.com/statsd/statsd/blob/master/docs/metric_types.md
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable
from threading import Event, Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from include.observability.statsd_mapping import MappedMetric, MetricType, StatsdMapping

MAX_SERIES: Final = 1_000
MAX_LABEL_LENGTH: Final = 128
MAX_DATAGRAM_BYTES: Final = 65_535
OTHER: Final = "other"

_MAX_REPEATS: Final = 100  # of a sampled timing
_POLL_SECONDS: Final = 0.5
_TYPES: Final[dict[str, MetricType]] = {"c": "counter", "g": "gauge", "ms": "observer", "h": "observer"}


class _InvalidLineError(ValueError):
    """A line that is not of the protocol, or has a value that its type cannot have."""


class StatsdReceiver:
    """The series of all lines received so far.

    Parameters
    ----------
    mapping : StatsdMapping
        Which metric a name becomes.
    max_series : int
        Maximum number of series of one metric, beside the one with the labels `OTHER`.
    """

    def __init__(self, mapping: StatsdMapping, max_series: int = MAX_SERIES) -> None:
        self._mapping = mapping
        self._max_series = max_series
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._series: dict[str, set[tuple[tuple[str, str], ...]]] = {}
        self._lock = Lock()  # a line is handled, or the page is collected
        self._lines = Counter(
            "sluice_statsd_lines",
            "StatsD lines received, by what became of them: mapped, overflow (counted as other), dropped, invalid",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in ("mapped", "overflow", "dropped", "invalid"):
            self._lines.labels(outcome)

    def serve(self, server: socket.socket, stopping: Event) -> None:
        """Handle the datagrams of a bound UDP socket until `stopping` is set."""
        server.settimeout(_POLL_SECONDS)
        while not stopping.is_set():
            try:
                datagram = server.recv(MAX_DATAGRAM_BYTES)
            except TimeoutError:
                continue
            except OSError:
                if stopping.is_set():  # closed by whoever stops
                    return
                raise
            self.handle(datagram)

    def handle(self, datagram: bytes) -> None:
        """Handle the lines of a datagram. It never raises because of what they contain."""
        for line in datagram.decode("utf-8", errors="replace").splitlines():
            if line:
                with self._lock:
                    try:
                        outcome = self._handle_line(line)
                    except ValueError:
                        outcome = "invalid"
                    self._lines.labels(outcome).inc()

    def collect(self) -> list[Metric]:
        """Return the metrics at this moment, as `render` takes them."""
        with self._lock:
            metrics = list(self._registry.collect())
        for metric in metrics:
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
        return metrics

    def _handle_line(self, line: str) -> str:
        name, separator, rest = line.partition(":")
        parts = rest.split("|")
        if not name or not separator or len(parts) not in {2, 3}:
            raise _InvalidLineError(line)
        kind = _TYPES.get(parts[1])
        if kind is None:
            raise _InvalidLineError(line)
        rate = _rate(parts[2]) if len(parts) == 3 else 1.0
        value = float(parts[0])
        # A timing of many digits is a number, but not a time; a counter that decreases is none.
        if not math.isfinite(value) or (kind != "gauge" and value < 0):
            raise _InvalidLineError(line)
        mapped = self._mapping.resolve(name, kind)
        if mapped is None:
            return "dropped"
        labels, overflow = self._bounded(mapped)
        self._record(self._metric(mapped), labels, value, rate, relative=parts[0][:1] in {"+", "-"})
        return "overflow" if overflow else "mapped"

    def _bounded(self, mapped: MappedMetric) -> tuple[dict[str, str], bool]:
        """Return the labels of a line, and whether they are `OTHER` because there are too many or one is too long."""
        known = self._series.setdefault(mapped.name, set())
        if mapped.labels not in known:
            too_long = any(len(value) > MAX_LABEL_LENGTH for _, value in mapped.labels)
            if too_long or len(known) >= self._max_series:
                return dict.fromkeys((label for label, _ in mapped.labels), OTHER), True
            known.add(mapped.labels)
        return dict(mapped.labels), False

    def _metric(self, mapped: MappedMetric) -> Counter | Gauge | Histogram:
        """Return the metric of a line; ValueError if another line has made it with another type."""
        metric = self._metrics.get(mapped.name)
        if metric is None:
            names = tuple(label for label, _ in mapped.labels)
            metric = self._metrics[mapped.name] = self._new_metric(mapped, names)
        if not isinstance(metric, _CLASSES[mapped.kind]):
            raise _InvalidLineError(mapped.name)
        return metric

    def _new_metric(self, mapped: MappedMetric, labels: Iterable[str]) -> Counter | Gauge | Histogram:
        if mapped.kind == "counter":
            return Counter(mapped.name, mapped.help, labels, registry=self._registry)
        if mapped.kind == "gauge":
            return Gauge(mapped.name, mapped.help, labels, registry=self._registry)
        return Histogram(mapped.name, mapped.help, labels, registry=self._registry, buckets=self._mapping.buckets)

    @staticmethod
    def _record(
        metric: Counter | Gauge | Histogram, labels: dict[str, str], value: float, rate: float, *, relative: bool
    ) -> None:
        series = metric.labels(**labels) if labels else metric
        if isinstance(series, Counter):
            series.inc(value / rate)
        elif isinstance(series, Gauge):
            if relative:
                series.inc(value)
            else:
                series.set(value)
        else:
            for _ in range(min(_MAX_REPEATS, round(1 / rate))):
                series.observe(value / 1000.0)  # StatsD's timers are in milliseconds


_CLASSES: Final[dict[MetricType, type[Counter | Gauge | Histogram]]] = {
    "counter": Counter, "gauge": Gauge, "observer": Histogram,
}  # fmt: skip


def _rate(text: str) -> float:
    rate = float(text.removeprefix("@"))
    if not text.startswith("@") or not 0 < rate <= 1:
        raise _InvalidLineError(text)
    return rate
