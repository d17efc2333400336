"""Records every request in about two microseconds; a thread writes the records."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from random import random
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from include.settings import Settings
from include.telemetry import FaultLog
from model_service.http.request_context import RequestContext
from model_service.models.registry import ModelRegistry
from model_service.observability.access_log import AccessLog, AccessLogEntry, RotatingFile, StandardOutput
from model_service.observability.metrics_buffer import MetricsBuffer
from model_service.observability.prediction_log import PredictionLog
from model_service.observability.statsd import StatsD
from model_service.server.log_unexpected import log_unexpected

if TYPE_CHECKING:
    from model_service.observability.prometheus import PrometheusMetrics
    from model_service.observability.shared_metrics import SharedMetrics

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.5
STOP_SECONDS: Final = 2.0
FLUSH_LINES: Final = 1_000  # so many queued lines are written immediately, so that memory stays low under load


class RequestRecorder:
    """Records the requests of a worker: metrics, access log, sampled predictions.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
        Its state is exported as metrics.
    prometheus : PrometheusMetrics
        The Prometheus metrics.
    predictions : PredictionLog
    access : AccessLog or None
        None: no access log.
    statsd : StatsD or None
        None: nothing is sent to StatsD.
    """

    def __init__(
        self,
        settings: Settings,
        registry: ModelRegistry,
        prometheus: PrometheusMetrics,
        predictions: PredictionLog,
        access: AccessLog | None,
        statsd: StatsD | None,
    ) -> None:
        self._registry = registry
        self.prometheus = prometheus
        self.predictions = predictions
        self._access = access
        self._statsd = statsd
        self._sample_rate = settings.service_sample_rate
        self._log_payloads = settings.service_access_log_payloads and access is not None
        self._warned: set[tuple[str, str]] = set()  # models and features with unknown categories
        self._buffer = MetricsBuffer()
        self._buffer_lock = threading.Lock()
        self._metrics_lock = threading.Lock()
        self._access_lock = threading.Lock()
        self._predictions_lock = threading.Lock()
        self._stopping = threading.Event()
        self._wakeup = threading.Event()
        self._threads: list[threading.Thread] = []
        self._faults = {
            self.flush_metrics: FaultLog(log, "the metrics of this worker are not updated; they lose nothing"),
            self.flush_access: FaultLog(log, "the access log cannot be written, its lines are dropped and counted"),
            self.flush_predictions: FaultLog(log, "the prediction log cannot be written"),
        }
        self.concurrency: Callable[[], int] = lambda: 0

    def on_start(self, context: RequestContext) -> None:
        """Decide whether the view must capture features and predictions."""
        context.sampled = self._sample_rate > 0 and random() < self._sample_rate  # noqa: S311  # a sample, not a secret
        context.capture_payload = context.sampled or self._log_payloads

    def on_end(self, context: RequestContext, status: int) -> None:
        """Record that a request was answered with `status`."""
        spent = perf_counter_ns() - context.started
        if context.timed_out:  # its client was answered so
            status = 408
        with self._buffer_lock:
            self._buffer.add(context, status, spent)
        if self._statsd is not None:
            self._statsd.add(context, status, spent)
        if self._access is not None:
            line = AccessLogEntry(
                datetime.now(UTC),
                context.request_id,
                context.method,
                context.route,
                status,
                spent // 1000,
                context.remote_addr,
                context.subject,
                context.model,
                context.version,
                context.rows,
                context.traceparent,
            )
            if self._log_payloads:
                line.features, line.predictions = context.inputs, context.outputs
            if self._access.add(line) == FLUSH_LINES:
                self._wakeup.set()
        if context.sampled:
            self.predictions.add(context)

    def on_reload(self, model: str) -> None:
        """Count a reload."""
        self.prometheus.reloads.labels(model).inc()

    def on_load_failure(self, model: str, version: int, reason: str) -> None:
        """Count a failed load, and raise an alert."""
        self.prometheus.load_failures.labels(model).inc()
        self.predictions.alert(model, f"version {version} could not be loaded", reason)

    def flush(self) -> None:
        """Write the buffered records to the metrics and the access log."""
        self.flush_metrics()
        self.flush_access()

    def flush_metrics(self) -> None:
        """Add the buffered records to the metrics, and share them with the other workers."""
        with self._metrics_lock:
            with self._buffer_lock:
                buffer, self._buffer = self._buffer, MetricsBuffer()
            self.prometheus.add(buffer, self._registry)
            self._count_unknown_categories()
            self.prometheus.set_gauges(self._registry, self.concurrency())
            if self._statsd is not None:
                self._statsd.flush(buffer)
                self._count_dropped("statsd", self._statsd)
            self.prometheus.publish()

    def flush_access(self) -> None:
        """Write the queued lines to the access log. It waits as long as the disk or the pipe does."""
        if self._access is not None:
            with self._access_lock:
                try:
                    self._access.flush()
                finally:
                    self._count_dropped("access", self._access)

    def flush_predictions(self) -> None:
        """Write sampled predictions and alerts to the database."""
        with self._predictions_lock:
            written = self.predictions.written
            try:
                self.predictions.flush()
            finally:
                self.prometheus.logged.inc(self.predictions.written - written)
                self._count_dropped("prediction", self.predictions)

    def metrics(self, accept: str = "", encoding: str | None = None) -> tuple[bytes, str]:
        """Return the metrics of all workers, this one's to the last request, and their media type.

        It waits for no log; see `PrometheusMetrics.text` for the parameters.
        """
        self._try(self.flush_metrics)
        return self.prometheus.text(accept, encoding)

    def start(self) -> None:
        """Start the writing threads. Call it in the worker: threads do not survive a fork."""
        for name, flush, wakeup in (
            ("metrics", self.flush_metrics, self._stopping),
            ("access-log", self.flush_access, self._wakeup),
            ("prediction-log", self.flush_predictions, self._stopping),
        ):
            thread = threading.Thread(target=self._flush_loop, args=(flush, wakeup), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Write what is left and end the threads; a log that cannot be written is given up after `STOP_SECONDS`."""
        self._stopping.set()
        self._wakeup.set()
        deadline = monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        if self._statsd is not None:
            self._statsd.close()

    def _flush_loop(self, flush: Callable[[], None], wakeup: threading.Event) -> None:
        while not self._stopping.is_set():
            wakeup.wait(FLUSH_SECONDS)
            if wakeup is not self._stopping:
                wakeup.clear()
            self._try(flush)
        self._try(flush)  # what came while the last one ran

    def _try(self, flush: Callable[[], None]) -> None:
        fault = self._faults[flush]
        try:
            flush()
        except OSError as error:  # such as a full disk or a closed pipe: it is retried
            fault.failed(f"{error.strerror or type(error).__name__}. It is tried again every half second")
        except Exception as error:  # noqa: BLE001  # a log or a metric must not end the thread
            log_unexpected(log, "metrics or logs could not be written; it is retried", error)
        else:
            fault.worked()

    def _count_unknown_categories(self) -> None:
        counts = self._registry.unknown_categories.take()
        self.prometheus.add_unknown_categories(counts)
        for model, feature in counts.keys() - self._warned:
            self._warned.add((model, feature))
            log.warning(
                "model '%s': a request has a category of feature '%s' that its version does not know; it is answered "
                "as if the value were missing. This is logged once; sluice_unknown_categories_total counts all",
                model,
                feature,
            )

    def _count_dropped(self, name: str, source: AccessLog | PredictionLog | StatsD) -> None:
        dropped, source.dropped = source.dropped, 0
        if dropped:
            self.prometheus.dropped.labels(name).inc(dropped)


def build_recorder(
    settings: Settings, registry: ModelRegistry, engine: Engine | None, shared: SharedMetrics | None
) -> RequestRecorder:
    """Return a recorder with the configuration in `settings`.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
    engine : sqlalchemy.Engine or None
        Writes sampled predictions and alerts.
    shared : SharedMetrics or None
        Where the workers share their metrics; None: this process only.
    """
    # Imported here: on import, the client decides by a variable whether it maps files, and `serve` unsets that first.
    from model_service.observability.prometheus import PrometheusMetrics

    access = None
    if settings.service_access_log == "stdout":
        access = AccessLog(StandardOutput().write)
    elif settings.service_access_log == "file":
        access = AccessLog(RotatingFile(settings.log_dir / "access.log", settings.service_access_log_bytes).write)
    return RequestRecorder(
        settings,
        registry,
        PrometheusMetrics(shared),
        PredictionLog(engine, days=settings.service_sample_days),
        access,
        StatsD(host, settings.statsd_port, settings.service_statsd_rate) if (host := settings.statsd_host) else None,
    )
