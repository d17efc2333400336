"""Gates on parts of the rows: declared slices, and groups for fairness."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from include.spec.base import Identifier
from include.spec.gates.base import Alpha, Gate
from include.spec.gates.quality import Limits
from include.spec.metrics import MetricName

__all__ = ["FairnessGap", "NoInferiorSlice", "SliceThreshold"]

Rate = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "error_rate"]


class SliceThreshold(Limits, Gate):
    """The metric must be within `minimum` and `maximum` on every declared slice with enough rows.

    With a `feature`, only on the slices of this feature.
    """

    kind: Literal["slice_threshold"] = "slice_threshold"
    metric: MetricName
    feature: Identifier | None = None

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"{self.metric} is {self.limits} on every slice {_of(self.feature)}"


class NoInferiorSlice(Gate):
    """On no declared slice may the candidate be significantly worse than the champion by more than `margin`.

    Each slice is tested one-sided, and the p-values are corrected for the number of slices (Holm). A
    candidate that is nowhere worse fails with probability `alpha` at most. With a `feature`, only its
    slices are tested. Unlike `NonInferiority`, the gate needs proof of a loss, not of its absence.
    """

    kind: Literal["no_inferior_slice"] = "no_inferior_slice"
    metric: MetricName
    margin: NonNegativeFloat = 0.0
    alpha: Alpha = 0.05
    feature: Identifier | None = None

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return (
            f"on no slice {_of(self.feature)} is {self.metric} significantly worse than the champion's by more than "
            f"{self.margin:g} (alpha {self.alpha:g}, Holm's correction)"
        )


class FairnessGap(Gate):
    """A rate may differ by at most `max_difference` between the groups of a feature.

    Rates of a binary model, at the threshold of its F1: ``selection_rate`` (demographic parity),
    ``true_positive_rate`` (equal opportunity), ``false_positive_rate``, ``error_rate``. Groups with
    fewer than `min_rows` rows are left out, and counted.
    """

    kind: Literal["fairness_gap"] = "fairness_gap"
    feature: Identifier
    rate: Rate = "true_positive_rate"
    max_difference: Annotated[float, Field(gt=0, le=1)]
    min_rows: PositiveInt = 200

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        rate = self.rate.replace("_", " ")
        return f"the {rate} differs by at most {self.max_difference:g} between the groups of {self.feature}"


def _of(feature: str | None) -> str:
    return "declared" if feature is None else f"of {feature}"
