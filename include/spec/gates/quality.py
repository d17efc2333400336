"""Gates on the quality of the predictions: against a limit, the baseline, the champion, and the model's history."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from include.spec.base import SpecModel
from include.spec.gates.base import Alpha, Gate
from include.spec.metrics import METRICS, Estimate, MetricName

__all__ = ["BetterThanBaseline", "Calibration", "MetricThreshold", "NonInferiority", "Superiority", "WithinHistory"]


class Limits(SpecModel):
    """A minimum, a maximum, or both; reaching a limit is enough."""

    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("expected minimum, maximum or both; found neither")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum must not be above maximum; found {self.minimum:g} and {self.maximum:g}")
        return self

    @property
    def limits(self) -> str:
        """The limits as a phrase."""
        phrases = [
            f"{word} {limit:g}"
            for word, limit in (("at least", self.minimum), ("at most", self.maximum))
            if limit is not None
        ]
        return " and ".join(phrases)


class MetricThreshold(Limits, Gate):
    """The candidate's metric must be within `minimum` and `maximum`.

    With ``on="interval"``, the whole confidence interval must be: its lower end is compared with the
    minimum, its upper end with the maximum.
    """

    kind: Literal["metric_threshold"] = "metric_threshold"
    metric: MetricName
    on: Estimate = "point"

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{_estimated(self.metric, self.on)} is {self.limits}"


class BetterThanBaseline(Gate):
    """The candidate must be better than the baseline by more than `margin`.

    With an `alpha`, it must be significantly better: the one-sided confidence bound of the paired
    difference must exceed the margin, so that a candidate which is no better passes with probability
    `alpha` at most. Without, the two values are compared.
    """

    kind: Literal["better_than_baseline"] = "better_than_baseline"
    metric: MetricName
    margin: float = 0.0
    alpha: Alpha | None = None

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{self.metric} is better than the baseline's by more than {self.margin:g}{_at(self.alpha)}"


class NonInferiority(Gate):
    """The candidate must be proven to be worse than the champion by at most `margin`.

    The one-sided confidence bound of the paired difference is compared with the margin, not the
    difference itself: a candidate that is truly worse by the margin passes with probability `alpha`,
    however many rows there are. Without a champion the candidate passes.
    """

    kind: Literal["non_inferiority"] = "non_inferiority"
    metric: MetricName
    margin: NonNegativeFloat = 0.0
    alpha: Alpha = 0.05

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{self.metric} is worse than the champion's by at most {self.margin:g}{_at(self.alpha)}"


class Superiority(Gate):
    """The candidate must be proven to be better than the champion by more than `margin`.

    The one-sided confidence bound of the paired difference must exceed the margin. Without a champion
    the candidate passes.
    """

    kind: Literal["superiority"] = "superiority"
    metric: MetricName
    margin: NonNegativeFloat = 0.0
    alpha: Alpha = 0.05

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{self.metric} is better than the champion's by more than {self.margin:g}{_at(self.alpha)}"


class Calibration(Gate):
    """The expected calibration error of the probabilities may be at most `max_error`.

    With ``on="interval"``, the upper end of its confidence interval may be.
    """

    kind: Literal["calibration"] = "calibration"
    max_error: Annotated[float, Field(gt=0, lt=1)] = 0.05
    on: Estimate = "point"

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{_estimated('the expected calibration error', self.on)} is at most {self.max_error:g}"


class WithinHistory(Gate):
    """The metric may not be unusually bad for this model.

    The measure is the robust z-score: the distance to the median of the earlier accepted versions, in
    units of 1.4826 times their median absolute deviation, which is taken as at least `min_spread`.
    With fewer than `min_versions` earlier versions, the gate passes and reports that there is no history.
    """

    kind: Literal["within_history"] = "within_history"
    metric: MetricName
    max_robust_z: PositiveFloat = 6.0
    min_versions: PositiveInt = 5
    min_spread: PositiveFloat = 0.005

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        worse = "below" if METRICS[self.metric].higher_is_better else "above"
        return (
            f"{self.metric} is at most {self.max_robust_z:g} robust deviations {worse} the median of the model's "
            f"accepted versions, once there are {self.min_versions}"
        )


def _estimated(name: str, on: Estimate) -> str:
    return name if on == "point" else f"the confidence interval of {name}"


def _at(alpha: float | None) -> str:
    return "" if alpha is None else f" (one-sided, alpha {alpha:g})"
