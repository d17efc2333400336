"""All requests that a worker has counted, by the labels that Prometheus gets: their number is bounded.

Versions are what grows: a model has another one with each retraining, and callers may request any of them by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from model_service.observability.metrics_buffer import MetricsBuffer, RequestStats

MAX_VERSIONS: Final = 8
OTHER: Final = "other"

# (route, model, version or "" or OTHER, status)
SeriesKey = tuple[str, str, str, int]


class RequestTotals:
    """The statistics of all requests since the service has started, by `SeriesKey`.

    A model has series of its own for `MAX_VERSIONS` versions. A version that becomes the champion replaces the one that
    was used least recently; another version gets the label `OTHER` if there are as many already. The counts of a
    replaced version are added to `OTHER`, so that sums over versions never decrease.
    """

    def __init__(self) -> None:
        self.series: dict[SeriesKey, RequestStats] = {}
        self._labelled: dict[str, dict[str, None]] = {}  # by model: versions, the least recently used first

    def add(self, buffer: MetricsBuffer, champions: Mapping[str, int]) -> None:
        """Add the requests of `buffer`; `champions` has the version that each model serves now."""
        for (route, model, version, status), stats in buffer.stats.items():
            label = self._label(model, str(version), champion=champions.get(model) == version) if version else ""
            self._merge((route, model, label, status), stats)

    def add_series(self, series: Iterable[tuple[SeriesKey, RequestStats]]) -> None:
        """Add what another worker has counted, which has died."""
        for (route, model, version, status), stats in series:
            label = self._label(model, version, champion=False) if version not in {"", OTHER} else version
            self._merge((route, model, label, status), stats)

    def _merge(self, key: SeriesKey, stats: RequestStats) -> None:
        self.series.setdefault(key, RequestStats()).merge(stats)

    def _label(self, model: str, version: str, *, champion: bool) -> str:
        labelled = self._labelled.setdefault(model, {})
        if version not in labelled and len(labelled) >= MAX_VERSIONS:
            if not champion:
                return OTHER
            replaced = next(iter(labelled))
            del labelled[replaced]
            self._move(model, replaced, OTHER)
        labelled.pop(version, None)
        labelled[version] = None
        return version

    def _move(self, model: str, version: str, target: str) -> None:
        for key in [key for key in self.series if key[1] == model and key[2] == version]:
            self._merge((key[0], model, target, key[3]), self.series.pop(key))


def merged(workers: Iterable[Iterable[tuple[SeriesKey, RequestStats]]]) -> dict[SeriesKey, RequestStats]:
    """Return the sum over workers."""
    total: dict[SeriesKey, RequestStats] = {}
    for series in workers:
        for key, stats in series:
            total.setdefault(key, RequestStats()).merge(stats)
    return total
