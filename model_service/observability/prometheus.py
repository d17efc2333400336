"""The metrics in Prometheus's text format or in OpenMetrics, aggregated over all workers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from model_service.models.registry import ModelRegistry
from model_service.observability.exemplars import PHASE_METRIC, REQUEST_METRIC, ExemplarCollector, ExemplarStore
from model_service.observability.metrics_buffer import BOUNDS, DurationHistogram, MetricsBuffer, RequestKey
from model_service.observability.multiprocess import remove_dead_workers

_LABELS: Final = ("route", "model", "version", "status")


class PrometheusMetrics:
    """The Prometheus metrics.

    Parameters
    ----------
    folder : Path or None
        Where the workers share their metrics; None: this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._registry = own = CollectorRegistry()
        self._requests = Histogram(
            REQUEST_METRIC, "Time to answer an HTTP request", _LABELS, buckets=BOUNDS, registry=own
        )
        self._phases = Histogram(
            PHASE_METRIC, "Time of a phase of a prediction", (*_LABELS, "phase"), buckets=BOUNDS, registry=own
        )
        versions = ("model", "version")
        self._rows = Counter("sluice_predicted_rows", "Predicted rows", versions, registry=own)
        self.reloads = Counter(
            "sluice_model_reloads", "Versions that a worker loaded and serves", ("model",), registry=own
        )
        self.load_failures = Counter(
            "sluice_model_load_failures", "Failed attempts of a worker to load a champion", ("model",), registry=own
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
        self.connections = Gauge("sluice_connections", "Open connections", multiprocess_mode="livesum", registry=own)
        self._in_flight = Gauge(
            "sluice_http_requests_in_flight", "HTTP requests in progress", multiprocess_mode="livesum", registry=own
        )
        one = ("model",)
        self._ready = Gauge(
            "sluice_model_ready", "1 if every worker can answer", one, multiprocess_mode="livemin", registry=own
        )
        self._load_failed = Gauge(
            "sluice_model_load_failed",
            "1 while a worker cannot load the champion",
            one,
            multiprocess_mode="livemax",
            registry=own,
        )
        self._loaded = Gauge(
            "sluice_model_version",
            "Version that a worker serves; 0: none",
            one,
            multiprocess_mode="liveall",
            registry=own,
        )
        self._database_up = Gauge(
            "sluice_database_up", "1 if every worker can read the database", multiprocess_mode="livemin", registry=own
        )
        # Cached, because the client takes about a microsecond to find a child by its labels.
        self._request_histograms: dict[RequestKey, Histogram] = {}
        self._phase_histograms: dict[tuple[RequestKey, str], Histogram] = {}
        self._exemplars = ExemplarStore(folder)

    def add(self, buffer: MetricsBuffer) -> None:
        """Add the statistics since the last flush."""
        for key, stats in buffer.stats.items():
            route, model, version, status = key
            child = self._request_histograms.get(key)
            if child is None:
                child = self._request_histograms[key] = self._requests.labels(route, model, version or "", status)
            _add(child, stats.request)
            for phase, durations in stats.phases.items():
                child = self._phase_histograms.get((key, phase))
                if child is None:
                    child = self._phases.labels(route, model, version or "", status, phase)
                    self._phase_histograms[key, phase] = child
                _add(child, durations)
            if stats.rows:
                self._rows.labels(model, version).inc(stats.rows)
        self._exemplars.add(buffer)

    def set_gauges(self, registry: ModelRegistry, concurrency: int) -> None:
        """Set the gauges to the present values of this worker."""
        self._in_flight.set(concurrency)
        self._database_up.set(registry.ledger_error is None)
        for served in registry:
            current = served.current
            self._ready.labels(served.name).set(current is not None)
            self._load_failed.labels(served.name).set(served.load_error is not None)
            self._loaded.labels(served.name).set(current.version if current else 0)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics of all workers in the format that `accept` requests, and its media type."""
        encode, media_type = choose_encoder(accept)
        exported = CollectorRegistry()
        if self._folder is None:
            source = self._registry
        else:
            remove_dead_workers(self._folder)
            source = CollectorRegistry()
            MultiProcessCollector(source, str(self._folder))  # type: ignore[no-untyped-call]  # the client's own gap
        exported.register(ExemplarCollector(source.collect, self._exemplars))
        return encode(exported), media_type


def _add(child: Histogram, durations: DurationHistogram) -> None:
    # The client observes one value at a time only; this adds many to the counters behind it.
    child._sum.inc(durations.total / 1e9)  # noqa: SLF001
    for bucket, count in zip(child._buckets, durations.buckets, strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
