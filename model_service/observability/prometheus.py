"""The metrics in Prometheus's text format or in OpenMetrics, aggregated over all workers.

Each worker counts in its own memory and hands all its counts over to `SharedMetrics` at each flush.

Sources
-------
https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars: labels of at most 128 characters in all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add
from pathlib import Path
from threading import Lock
from time import monotonic, process_time
from typing import Final, Literal, get_args

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from include.telemetry import FaultLog
from model_service.http.compression import compress
from model_service.models.registry import ModelRegistry
from model_service.observability.metrics_buffer import (
    BOUNDS,
    DurationHistogram,
    ExemplarRecord,
    MetricsBuffer,
    RequestStats,
)
from model_service.observability.request_totals import RequestTotals, SeriesKey, merged
from model_service.observability.shared_metrics import SharedMetrics
from model_service.server.connections import CloseReason
from model_service.server.watchdog import Reason as RestartReason

log = logging.getLogger(__name__)

Mode = Literal["sum", "min", "max", "all"]
"""How a gauge of several workers becomes one: "all" keeps each, with the label ``pid``."""

CACHE_SECONDS: Final = 1.0
PROCESS_SECONDS: Final = 5.0
_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_LABELS: Final = ("route", "model", "version", "status")
_MAX_ID_LENGTH: Final = 100
_MAX_UNCHANGED: Final = 10
_LE: Final = tuple(floatToGoString(each) for each in (*BOUNDS, float("inf")))  # type: ignore[no-untyped-call]  # the client's
_OPENMETRICS: Final = "application/openmetrics-text"

# (family, name of the sample, labels)
_SampleKey = tuple[str, str, tuple[tuple[str, str], ...]]


class _WorkerMetrics(msgspec.Struct, array_like=True):
    """All that a worker has counted, and its gauges."""

    pid: int
    series: list[tuple[SeriesKey, RequestStats]]
    samples: list[tuple[_SampleKey, float]]


class PrometheusMetrics:
    """The Prometheus metrics.

    Parameters
    ----------
    shared : SharedMetrics or None
        Where the workers share their metrics; None: this process only.
    """

    def __init__(self, shared: SharedMetrics | None) -> None:
        self._shared = shared
        self._registry = own = CollectorRegistry()
        self._modes: dict[str, Mode] = {}
        self.reloads = Counter(
            "sluice_model_reloads", "Versions that a worker loaded and serves", ("model",), registry=own
        )
        self.load_failures = Counter(
            "sluice_model_load_failures", "Failed attempts of a worker to load a champion", ("model",), registry=own
        )
        self._unknown = Counter(
            "sluice_unknown_categories",
            "Values in requests that are categories which the version does not know, answered as if they were missing",
            ("model", "feature"),
            registry=own,
        )
        self.logged = Counter("sluice_prediction_log_rows", "Rows written to the prediction log", registry=own)
        self.dropped = Counter(
            "sluice_log_records_dropped",
            "Log records dropped because the queue was full or they could not be stored",
            ("log",),
            registry=own,
        )
        self.worker_restarts = Counter(
            "sluice_worker_restarts",
            "Workers that replaced one that crashed, was stuck or was unresponsive",
            ("reason",),
            registry=own,
        )
        self.closed_connections = Counter(
            "sluice_connections_closed", "Idle connections closed beyond a limit", ("reason",), registry=own
        )
        # A counter that begins at 1 has not increased, as Prometheus sees it: all begin at 0.
        for restart in get_args(RestartReason):
            self.worker_restarts.labels(restart)
        for closing in get_args(CloseReason):
            self.closed_connections.labels(closing)
        self.connections = self._gauge("sluice_connections", "Open connections", "sum")
        self._unreadable = Counter(
            "sluice_worker_metrics_unreadable",
            "Times that the metrics of a worker could not be read, so that a response of /metrics lacks them",
            registry=own,
        )
        self._in_flight = self._gauge("sluice_http_requests_in_flight", "HTTP requests in progress", "sum")
        self._cpu = Counter("sluice_worker_cpu_seconds", "Processor time of all workers", registry=own)
        self._memory = self._gauge("sluice_worker_resident_memory_bytes", "Resident memory of a worker", "all")
        self._cpu_seen, self._process_seen_at = 0.0, float("-inf")
        self._ready = self._gauge("sluice_model_ready", "1 if every worker can answer", "min", "model")
        self._load_failed = self._gauge(
            "sluice_model_load_failed", "1 while a worker cannot load the champion", "max", "model"
        )
        self._loaded = self._gauge("sluice_model_version", "Version that a worker serves; 0: none", "all", "model")
        self._database_up = self._gauge("sluice_database_up", "1 if every worker can read the database", "min")
        self._totals = RequestTotals()
        self._inherited: dict[_SampleKey, float] = {}
        self._lock = Lock()  # of the totals
        self._changed = True
        self._published: tuple[list[tuple[_SampleKey, float]], int] = ([], 0)
        self._fault = FaultLog(log, "/metrics lacks a worker: its metrics cannot be read")
        self._texts: dict[tuple[bool, str | None], tuple[float, bytes, str]] = {}
        self._texts_lock = Lock()
        if shared is not None:
            self._inherit(shared.attach())

    def add(self, buffer: MetricsBuffer, registry: ModelRegistry) -> None:
        """Add the statistics since the last flush; `registry` tells which versions are served now."""
        if not buffer.stats:
            return
        champions = {each.name: each.current.version for each in registry if each.current is not None}
        with self._lock:
            self._totals.add(buffer, champions)
            self._changed = True

    def add_unknown_categories(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add values of categories that the versions do not know, by model and feature."""
        for (model, feature), values in counts.items():
            self._unknown.labels(model, feature).inc(values)

    def set_gauges(self, registry: ModelRegistry, concurrency: int) -> None:
        """Set the gauges to the present values of this worker."""
        self._in_flight.set(concurrency)
        self._database_up.set(registry.ledger_error is None)
        for served in registry:
            current = served.current
            self._ready.labels(served.name).set(current is not None)
            self._load_failed.labels(served.name).set(served.load_error is not None)
            self._loaded.labels(served.name).set(current.version if current else 0)
        self._set_process()

    def publish(self) -> None:
        """Share this worker's metrics with the others, if there is something new.

        Raises
        ------
        OSError
            If there is no memory. Nothing is lost: the next call shares all counts.
        """
        if self._shared is None:
            return
        samples = self._samples()
        before, unchanged = self._published
        with self._lock:
            # From time to time in any case, so that what cannot be read is replaced.
            if not self._changed and samples == before and unchanged < _MAX_UNCHANGED:
                self._published = before, unchanged + 1
                return
            content = msgspec.msgpack.encode(_WorkerMetrics(os.getpid(), list(self._totals.series.items()), samples))
            self._shared.write(content)
            self._changed = False
        self._published = samples, 0

    def text(self, accept: str = "", encoding: str | None = None) -> tuple[bytes, str]:
        """Return the metrics of all workers in the format that `accept` requests, and its media type.

        With several workers the text is up to `CACHE_SECONDS` old: many scrapes cost little more than one.

        Parameters
        ----------
        accept : str
            The header ``Accept``: OpenMetrics if it names that, and otherwise the text format.
        encoding : str or None
            Encoding with which to compress it, of `model_service.http.compression`; None: none.
        """
        openmetrics = _OPENMETRICS in accept
        with self._texts_lock:
            key, now = (openmetrics, encoding), monotonic()
            cached = self._texts.get(key)
            if cached is None or now >= cached[0]:
                # The client's own choice fails on versions that it does not know, which any caller can name.
                encode, media_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if openmetrics else "")
                exported = CollectorRegistry()
                exported.register(_Families(self._collect))
                text = encode(exported)
                cached = (now + CACHE_SECONDS, text if encoding is None else compress(text, encoding), media_type)
                if self._shared is not None:
                    self._texts[key] = cached
            return cached[1], cached[2]

    def _gauge(self, name: str, documentation: str, mode: Mode, *labels: str) -> Gauge:
        self._modes[name] = mode
        return Gauge(name, documentation, labels, registry=self._registry)

    # -- of this worker ---------------------------------------------------------------------------

    def _set_process(self) -> None:
        """Set processor time and memory of this worker, seldom: a worker without requests should share nothing new."""
        now = monotonic()
        if now < self._process_seen_at + PROCESS_SECONDS:
            return
        self._process_seen_at = now
        spent = process_time()
        self._cpu.inc(max(0.0, spent - self._cpu_seen))
        self._cpu_seen = spent
        resident = _resident_bytes()
        if resident is not None:
            self._memory.set(resident)

    def _samples(self) -> list[tuple[_SampleKey, float]]:
        """Return the counters and gauges of this worker, with what it inherited."""
        found: dict[_SampleKey, float] = dict(self._inherited)
        for metric in self._registry.collect():
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    key = (metric.name, sample.name, tuple(sample.labels.items()))
                    found[key] = found.get(key, 0.0) + sample.value
        return list(found.items())

    def _inherit(self, content: bytes | None) -> None:
        """Continue the counts of the worker that had this one's place before."""
        left = None if content is None else self._decoded(content)
        if left is None:
            return
        self._totals.add_series(left.series)
        gauges = {metric.name for metric in self._registry.collect() if metric.type == "gauge"}
        self._inherited = {key: value for key, value in left.samples if key[0] not in gauges}

    # -- of all workers ---------------------------------------------------------------------------

    def _collect(self) -> Iterator[Metric]:
        others = self._others()
        with self._lock:
            series = merged([self._totals.series.items(), *(each.series for each in others)])
        own = _WorkerMetrics(os.getpid(), [], self._samples())
        yield from _histograms(series)
        yield _rows(series)
        yield from self._aggregated([own, *others])

    def _others(self) -> list[_WorkerMetrics]:
        """Return the metrics of the other workers, dead ones included; those that cannot be read are left out."""
        found, unreadable = [], 0
        for content in () if self._shared is None else self._shared.others():
            metrics = None if content is None else self._decoded(content)
            if metrics is None:
                unreadable += 1
            else:
                found.append(metrics)
        if unreadable:
            self._unreadable.inc(unreadable)
            self._fault.failed("what is in its memory was not written by a worker. It writes it again within 5 s")
        else:
            self._fault.worked()
        return found

    def _decoded(self, content: bytes) -> _WorkerMetrics | None:
        try:
            return msgspec.msgpack.decode(content, type=_WorkerMetrics)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _aggregated(self, workers: Sequence[_WorkerMetrics]) -> Iterator[Metric]:
        families = list(self._registry.collect())
        gauges: dict[str, Mode] = dict.fromkeys((each.name for each in families if each.type == "gauge"), "sum")
        modes = gauges | self._modes
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for worker in workers:
            alive = _alive(worker.pid)
            for (of_family, name, labels), value in worker.samples:
                mode = modes.get(of_family)
                if mode is not None and not alive:  # counters of dead workers remain valid, their gauges do not
                    continue
                key = (name, (*labels, ("pid", str(worker.pid))) if mode == "all" else labels)
                found = values.setdefault(of_family, {})
                found[key] = _COMBINE[mode](found[key], value) if key in found else value
        for family in families:
            family.samples = [
                Sample(name, dict(labels), value) for (name, labels), value in values.get(family.name, {}).items()
            ]
            yield family


_COMBINE: Final[dict[Mode | None, Callable[[float, float], float]]] = {
    None: add, "sum": add, "min": min, "max": max, "all": max,
}  # fmt: skip


class _Families(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _histograms(series: dict[SeriesKey, RequestStats]) -> Iterator[Metric]:
    requests = HistogramMetricFamily(
        "sluice_http_request_duration_seconds", "Time to answer an HTTP request", labels=_LABELS
    )
    phases = HistogramMetricFamily(
        "sluice_prediction_phase_duration_seconds", "Time of a phase of a prediction", labels=(*_LABELS, "phase")
    )
    for (route, model, version, status), stats in series.items():
        labels = (route, model, version, str(status))
        requests.add_metric(labels, _buckets(stats.request), stats.request.total / 1e9)
        for phase, durations in stats.phases.items():
            phases.add_metric((*labels, phase), _buckets(durations), durations.total / 1e9)
    yield requests
    yield phases


def _buckets(durations: DurationHistogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the cumulative counts by upper bound, each with the latest request of the bucket."""
    return [
        (bound, count) if exemplar is None else (bound, count, exemplar)
        for bound, count, exemplar in zip(
            _LE, accumulate(durations.buckets), map(_exemplar, durations.exemplars), strict=True
        )
    ]


def _exemplar(record: ExemplarRecord | None) -> Exemplar | None:
    if record is None:
        return None
    nanoseconds, trace, request_id, at = record
    if not trace and len(request_id) > _MAX_ID_LENGTH:
        return None
    return Exemplar({"trace_id": trace} if trace else {"request_id": request_id}, nanoseconds / 1e9, at)


def _rows(series: dict[SeriesKey, RequestStats]) -> Metric:
    rows: dict[tuple[str, str], int] = {}
    for (_, model, version, _), stats in series.items():
        if stats.rows:
            rows[model, version] = rows.get((model, version), 0) + stats.rows
    family = CounterMetricFamily("sluice_predicted_rows", "Predicted rows", labels=("model", "version"))
    for labels, count in rows.items():
        family.add_metric(labels, count)
    return family


def _resident_bytes() -> int | None:
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except OSError:  # macOS has no such file
        return None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
