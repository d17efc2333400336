"""The metrics by name, in Prometheus's text form or OpenMetrics', added up over all workers."""

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
    """What Prometheus is told.

    Parameters
    ----------
    folder : Path or None
        Where workers share; None: this process alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._registry = own = CollectorRegistry()
        self._requests = Histogram(REQUEST_METRIC, "Time to answer a request", _LABELS, buckets=BOUNDS, registry=own)
        self._phases = Histogram(
            PHASE_METRIC, "Time of a prediction's phase", (*_LABELS, "phase"), buckets=BOUNDS, registry=own
        )
        versions = ("model", "version")
        self._rows = Counter("sluice_predicted_rows", "Rows predicted", versions, registry=own)
        self.reloads = Counter("sluice_model_reloads", "Versions that a worker put in force", ("model",), registry=own)
        self.load_failures = Counter(
            "sluice_model_load_failures", "Times that a worker refused a champion's artifact", ("model",), registry=own
        )
        self.logged = Counter("sluice_prediction_log_rows", "Rows written to the prediction log", registry=own)
        self.dropped = Counter(
            "sluice_log_records_dropped",
            "What was not written: too much waited, or nothing would take it",
            ("log",),
            registry=own,
        )
        self._in_flight = Gauge(
            "sluice_http_requests_in_flight", "Requests under way", multiprocess_mode="livesum", registry=own
        )
        one = ("model",)
        self._ready = Gauge(
            "sluice_model_ready", "1 when every worker can answer", one, multiprocess_mode="livemin", registry=own
        )
        self._refused = Gauge(
            "sluice_model_load_failed",
            "1 while a worker refuses the champion",
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
        self._ledger = Gauge(
            "sluice_database_up", "1 when every worker can read the ledger", multiprocess_mode="livemin", registry=own
        )
        # The client looks a child up by its labels in about a microsecond each time.
        self._request_histograms: dict[RequestKey, Histogram] = {}
        self._phase_histograms: dict[tuple[RequestKey, str], Histogram] = {}
        self._exemplars = ExemplarStore(folder)

    def add(self, buffer: MetricsBuffer) -> None:
        """Add what was counted since the last time."""
        for key, counts in buffer.counts.items():
            route, model, version, status = key
            child = self._request_histograms.get(key)
            if child is None:
                child = self._request_histograms[key] = self._requests.labels(route, model, version or "", status)
            _add(child, counts.request)
            for phase, durations in counts.phases.items():
                child = self._phase_histograms.get((key, phase))
                if child is None:
                    child = self._phases.labels(route, model, version or "", status, phase)
                    self._phase_histograms[key, phase] = child
                _add(child, durations)
            if counts.rows:
                self._rows.labels(model, version).inc(counts.rows)
        self._exemplars.add(buffer)

    def show_levels(self, registry: ModelRegistry, in_flight: int) -> None:
        """Set the levels to what this worker finds now."""
        self._in_flight.set(in_flight)
        self._ledger.set(registry.ledger_error is None)
        for served in registry:
            current = served.current
            self._ready.labels(served.name).set(current is not None)
            self._refused.labels(served.name).set(served.load_error is not None)
            self._loaded.labels(served.name).set(current.version if current else 0)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics of all workers, and the media type that `accept` asks for: OpenMetrics has exemplars."""
        encode, media_type = choose_encoder(accept)
        together = CollectorRegistry()
        if self._folder is None:
            source = self._registry
        else:
            remove_dead_workers(self._folder)
            source = CollectorRegistry()
            MultiProcessCollector(source, str(self._folder))  # type: ignore[no-untyped-call]  # the client's own gap
        together.register(ExemplarCollector(source.collect, self._exemplars))
        return encode(together), media_type


def _add(child: Histogram, durations: DurationHistogram) -> None:
    # The client can only observe one value at a time; its parts can take many, and are what it would add to.
    child._sum.inc(durations.total / 1e9)  # noqa: SLF001
    for bucket, count in zip(child._buckets, durations.buckets, strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
