"""Exemplars: the latest request in each bucket of a histogram.

Prometheus's client has no exemplars if processes share its files. Therefore each worker writes the latest request of
each bucket beside them, and the worker that answers returns the latest of all.

Sources
-------
https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars: labels of at most 128 characters in all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from model_service.observability.metrics_buffer import BOUNDS, ExemplarRecord, MetricsBuffer

REQUEST_METRIC, PHASE_METRIC = "sluice_http_request_duration_seconds", "sluice_prediction_phase_duration_seconds"
_MAX_ID_LENGTH: Final = 100
_LE: Final = tuple(floatToGoString(each) for each in (*BOUNDS, float("inf")))  # type: ignore[no-untyped-call]  # the client's

# (metric, route, model, version, status, phase or "", bucket)
BucketKey = tuple[str, str, str, str, str, str, int]


@dataclass(slots=True)
class ExemplarStore:
    """The latest request of each bucket.

    Parameters
    ----------
    folder : Path or None
        Where the workers share them; None: this process only.
    """

    folder: Path | None
    _own: dict[BucketKey, ExemplarRecord] = field(default_factory=dict)

    def add(self, buffer: MetricsBuffer) -> None:
        """Add the requests of `buffer`, and share them with the other workers."""
        if not buffer.stats:
            return
        for (route, model, version, status), stats in buffer.stats.items():
            at = (route, model, str(version or ""), str(status))
            for metric, phase, durations in (
                (REQUEST_METRIC, "", stats.request),
                *((PHASE_METRIC, name, each) for name, each in stats.phases.items()),
            ):
                for bucket, exemplar in enumerate(durations.exemplars):
                    if exemplar is not None:
                        self._own[metric, *at, phase, bucket] = exemplar
        if self.folder is not None:
            file = self.folder / f"exemplars_{os.getpid()}.json"
            written = file.with_suffix(".tmp")
            written.write_bytes(msgspec.json.encode(list(self._own.items())))
            written.replace(file)  # atomic: another worker may be reading it

    def latest(self) -> dict[BucketKey, ExemplarRecord]:
        """Return the latest of all workers, dead ones included, as for counters."""
        found = dict(self._own)
        files = () if self.folder is None else self.folder.glob("exemplars_*.json")
        for place, exemplar in (each for file in files for each in _read(file)):
            if place not in found or found[place][3] < exemplar[3]:
                found[place] = exemplar
        return found


def _read(file: Path) -> list[tuple[BucketKey, ExemplarRecord]]:
    return msgspec.json.decode(file.read_bytes(), type=list[tuple[BucketKey, ExemplarRecord]])


class ExemplarCollector(Collector):
    """Adds exemplars to the histograms that `collect` yields."""

    def __init__(self, collect: Callable[[], Iterable[Metric]], exemplars: ExemplarStore) -> None:
        self._collect, self._exemplars = collect, exemplars

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        latest = self._exemplars.latest()
        for metric in self._collect():
            if metric.type == "histogram":
                metric.samples = [_with(sample, metric.name, latest) for sample in metric.samples]
            yield metric


def _with(sample: Sample, metric: str, latest: dict[BucketKey, ExemplarRecord]) -> Sample:
    held = sample.labels
    if not sample.name.endswith("_bucket"):
        return sample
    answered = (held["route"], held["model"], held["version"], held["status"])
    found = latest.get((metric, *answered, held.get("phase", ""), _LE.index(held["le"])))
    if found is None:
        return sample
    nanoseconds, trace, request_id, at = found
    labels = {"trace_id": trace} if trace else {"request_id": request_id}
    if len(labels.get("request_id", "")) > _MAX_ID_LENGTH:
        return sample
    return sample._replace(exemplar=Exemplar(labels, nanoseconds / 1e9, at))
