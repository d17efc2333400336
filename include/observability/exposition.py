"""The page that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

_OPENMETRICS: Final = "application/openmetrics-text"


class _Collected:
    """A registry of what was collected before: the encoders of the client read nothing else of one."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def render(metrics: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
    """Return `metrics` in the format that a scraper requests.

    Parameters
    ----------
    metrics : iterable of prometheus_client.Metric
        Each name once.
    accept : str
        The header ``Accept``: OpenMetrics if it names that, and otherwise Prometheus's text format.

    Returns
    -------
    tuple of (bytes, str)
        The page, and its media type.
    """
    # The client's own choice fails on versions that it does not know, which any caller can name.
    encode, media_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else "")
    return encode(_Collected(metrics)), media_type
