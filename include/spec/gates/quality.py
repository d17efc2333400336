"""Gates on how good the answers are: against a bound, the baseline, the champion, the model's own past."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from include.spec.base import SpecModel
from include.spec.gates.metrics import HIGHER_IS_BETTER, Judged, Metric

Level = Annotated[float, Field(gt=0, lt=0.5)]


class AtLeast(SpecModel):
    """The candidate's metric must reach `bound`; with ``on="interval"``, the low end of its interval must."""

    kind: Literal["at_least"] = "at_least"
    metric: Metric
    bound: float
    on: Judged = "point"

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{_judged(self.metric, self.on, 'low')} is at least {self.bound:g}"


class AtMost(SpecModel):
    """The candidate's metric must not exceed `bound`; with ``on="interval"``, the high end of its interval must not."""

    kind: Literal["at_most"] = "at_most"
    metric: Metric
    bound: float
    on: Judged = "point"

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{_judged(self.metric, self.on, 'high')} is at most {self.bound:g}"


class BetterThanBaseline(SpecModel):
    """The candidate must beat the baseline by more than `margin`.

    With a `level`, it must have been shown: the one-sided confidence bound of the difference must
    exceed the margin, so that a candidate no better passes with at most that probability.
    """

    kind: Literal["better_than_baseline"] = "better_than_baseline"
    metric: Metric
    margin: float = 0.0
    level: Level | None = None

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{self.metric} is better than the baseline's by more than {self.margin:g}{_shown_at(self.level)}"


class NonInferiority(SpecModel):
    """The candidate must be shown to fall short of the champion by at most `margin` (non-inferiority).

    What is held against the margin is the one-sided confidence bound of the paired difference, not
    the difference: a candidate truly worse by the margin passes with probability `level`, however
    many rows there are.
    """

    kind: Literal["non_inferiority"] = "non_inferiority"
    metric: Metric
    margin: NonNegativeFloat = 0.0
    level: Level = 0.05

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{self.metric} is worse than the champion's by no more than {self.margin:g}{_shown_at(self.level)}"


class Superiority(SpecModel):
    """The candidate must be shown to be better than the champion by more than `by` (superiority)."""

    kind: Literal["superiority"] = "superiority"
    metric: Metric
    by: NonNegativeFloat = 0.0
    level: Level = 0.05

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{self.metric} is better than the champion's by more than {self.by:g}{_shown_at(self.level)}"


class Calibration(SpecModel):
    """Probabilities must mean what they say: the expected calibration error must not exceed `error`."""

    kind: Literal["calibration"] = "calibration"
    error: Annotated[float, Field(gt=0, lt=1)] = 0.05
    on: Judged = "point"

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"{_judged('the expected calibration error', self.on, 'high')} is at most {self.error:g}"


class WithinHistory(SpecModel):
    """The metric must not fall out of the model's own history on the bad side.

    Measured by the robust z-score: the distance to the median of the accepted versions before, in
    units of 1.4826 times their median absolute deviation, which is taken as at least `least_spread`.
    With fewer than `fewest` versions there is no history to judge by, and the gate says so.
    """

    kind: Literal["within_history"] = "within_history"
    metric: Metric
    deviations: PositiveFloat = 6.0
    fewest: PositiveInt = 5
    least_spread: PositiveFloat = 0.005

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        worse = "below" if self.METRICS[metric].higher_is_better else "above"
        return (
            f"{self.metric} is no more than {self.deviations:g} robust deviations {worse} the median of the model's "
            f"accepted versions, once there are {self.fewest}"
        )


def _judged(name: str, on: Judged, end: str) -> str:
    return name if on == "point" else f"the {end} end of the interval of {name}"


def _shown_at(level: float | None) -> str:
    return "" if level is None else f" (shown at the one-sided level {level:g})"
