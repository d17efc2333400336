"""The metrics: names, directions and ranges. The functions that compute them are in `include.evaluation.metrics`.

A new metric is one object here and one there; `include.evaluation` fails to import when either is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal

from pydantic import AfterValidator

from include.spec.base import Task

Direction = Literal["higher", "lower"]
CLASSIFICATION: tuple[Task, ...] = ("binary", "multiclass")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a candidate.

    Attributes
    ----------
    name : str
    direction : {"higher", "lower"}
        Which value is better.
    tasks : tuple of Task
        The tasks for which it is computed.
    minimum, maximum : float
        The range of its values; confidence intervals are cut to it.
    """

    name: str
    direction: Direction
    tasks: tuple[Task, ...]
    minimum: float = 0.0
    maximum: float = 1.0

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is better."""
        return self.direction == "higher"

    def gain(self, difference: float) -> float:
        """Return a difference of two values with the sign that makes an improvement positive."""
        return difference if self.higher_is_better else -difference


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", "higher", CLASSIFICATION),
        Metric("average_precision", "higher", CLASSIFICATION),
        Metric("log_loss", "lower", CLASSIFICATION, maximum=inf),
        Metric("brier", "lower", CLASSIFICATION, maximum=2.0),
        Metric("ece", "lower", CLASSIFICATION),
        Metric("mce", "lower", CLASSIFICATION),
        Metric("f1", "higher", ("binary",)),
        Metric("accuracy", "higher", CLASSIFICATION),
        Metric("macro_f1", "higher", CLASSIFICATION),
        Metric("micro_f1", "higher", ("multiclass",)),
        Metric("mae", "lower", ("regression",), maximum=inf),
        Metric("rmse", "lower", ("regression",), maximum=inf),
        Metric("r2", "higher", ("regression",), minimum=-inf),
        Metric("pinball", "lower", ("regression",), maximum=inf),
    )
}
"""Every metric by its name, in the order in which they are shown."""


def _known(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"expected one of {', '.join(METRICS)}; found '{name}'")
    return name


MetricName = Annotated[str, AfterValidator(_known)]
Estimate = Literal["point", "interval"]
"""What is compared with a limit: the value itself, or the worse end of its confidence interval."""
