"""Notes every request in about two microseconds, and a thread carries the notes away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import random
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from include.settings import Settings
from model_service.http.request_context import RequestContext
from model_service.models.registry import ModelRegistry
from model_service.observability.access_log import AccessLog, AccessLogEntry, RotatingFile, to_stdout
from model_service.observability.metrics_buffer import MetricsBuffer
from model_service.observability.prediction_log import PredictionLog
from model_service.observability.statsd import StatsD
from model_service.server.log_unexpected import log_unexpected

if TYPE_CHECKING:
    from model_service.observability.prometheus import PrometheusMetrics

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.5
FLUSH_LINES: Final = 1_000  # as many wait at most before they are written, so that memory stays low under load


class RequestRecorder:
    """What a worker notes, and where it goes.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
        Whose state is shown.
    prometheus : PrometheusMetrics
        Prometheus's side.
    predictions : PredictionLog
    access : AccessLog or None
        None: no access log.
    statsd : StatsD or None
        None: nothing is sent there.
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
        self._show_values = settings.service_access_log_payloads and access is not None
        self._buffer = MetricsBuffer()
        self._noting = threading.Lock()
        self._flushing = threading.Lock()
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._busy = threading.Event()
        self.in_flight: Callable[[], int] = lambda: 0

    def on_start(self, context: RequestContext) -> None:
        """Decide whether the context's features and predictions are wanted."""
        context.sampled = self._sample_rate > 0 and random() < self._sample_rate  # noqa: S311  # a sample, no secret
        context.capture_payload = context.sampled or self._show_values

    def on_end(self, context: RequestContext, status: int) -> None:
        """Note that `context` was answered with `status`."""
        spent = perf_counter_ns() - context.started
        if context.timed_out:  # that is what its client was answered
            status = 408
        with self._noting:
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
                context.subject,
                context.model,
                context.version,
                context.rows,
                context.traceparent,
            )
            if self._show_values:
                line.features, line.predictions = context.inputs, context.outputs
            if self._access.add(line) == FLUSH_LINES:
                self._busy.set()
        if context.sampled:
            self.predictions.add(context)

    def on_reload(self, model: str) -> None:
        """Note that a version of `model` was put in force."""
        self.prometheus.reloads.labels(model).inc()

    def on_load_failure(self, model: str, version: int, reason: str) -> None:
        """Note that the champion's artifact was refused: a metric, and an alert row."""
        self.prometheus.load_failures.labels(model).inc()
        self.predictions.alert(model, f"version {version} refused", reason)

    def flush(self) -> None:
        """Carry what was noted to the metrics and the access log."""
        with self._flushing:
            with self._noting:
                buffer, self._buffer = self._buffer, MetricsBuffer()
            self.prometheus.add(buffer)
            self.prometheus.show_levels(self._registry, self.in_flight())
            if self._statsd is not None:
                self._statsd.flush(buffer)
                self._count_dropped("statsd", self._statsd)
            if self._access is not None:
                try:
                    self._access.flush()
                finally:
                    self._count_dropped("access", self._access)

    def flush_predictions(self) -> None:
        """Carry sampled predictions and alerts to the database."""
        with self._writing:
            written = self.predictions.written
            try:
                self.predictions.flush()
            finally:
                self.prometheus.logged.inc(self.predictions.written - written)
                self._count_dropped("prediction", self.predictions)

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics of all workers, this one's to the last request, and their media type."""
        _try(self.flush)  # what is counted is shown, though a log's disk be full
        return self.prometheus.text(accept)

    def start(self) -> None:
        """Carry away in threads of its own. Call it in the worker: a thread does not survive a fork."""
        for name, flush, bell in (
            ("recorder", self.flush, self._busy),
            ("prediction-log", self.flush_predictions, self._stopping),
        ):
            threading.Thread(target=self._carry, args=(flush, bell), name=name, daemon=True).start()

    def stop(self) -> None:
        """Carry away what is left, and no more."""
        self._stopping.set()
        self._busy.set()
        _try(self.flush)
        _try(self.flush_predictions)
        if self._statsd is not None:
            self._statsd.close()

    def _carry(self, flush: Callable[[], None], bell: threading.Event) -> None:
        while True:
            bell.wait(FLUSH_SECONDS)
            if self._stopping.is_set():
                return
            bell.clear()
            _try(flush)

    def _count_dropped(self, name: str, source: AccessLog | PredictionLog | StatsD) -> None:
        dropped, source.dropped = source.dropped, 0
        if dropped:
            self.prometheus.dropped.labels(name).inc(dropped)


def _try(flush: Callable[[], None]) -> None:
    try:
        flush()
    except Exception as error:  # noqa: BLE001  # the next turn may fare better: a full disk, a pipe that is shut
        log_unexpected(log, "metrics or logs could not be written", error)


def build_recorder(
    settings: Settings, registry: ModelRegistry, engine: Engine | None, folder: Path | None
) -> RequestRecorder:
    """Return an recorder as `settings` want it.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
    engine : sqlalchemy.Engine or None
        What sampled predictions and alerts are written with.
    folder : Path or None
        Where workers share their metrics; None: this process is the only one.
    """
    # Imported only when `prepare_multiprocess_dir` has said where workers share: the client looks once.
    from model_service.observability.prometheus import PrometheusMetrics

    access = None
    if settings.service_access_log == "stdout":
        access = AccessLog(to_stdout)
    elif settings.service_access_log == "file":
        access = AccessLog(RotatingFile(settings.log_dir / "access.log", settings.service_access_log_bytes).write)
    return RequestRecorder(
        settings,
        registry,
        PrometheusMetrics(folder),
        PredictionLog(engine, days=settings.service_sample_days),
        access,
        StatsD(host, settings.statsd_port, settings.service_statsd_rate) if (host := settings.statsd_host) else None,
    )
