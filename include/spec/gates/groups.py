"""Gates on parts of the rows: the declared slices, and groups of people or things to be treated alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from include.spec.base import Identifier, SpecModel
from include.spec.gates.metrics import HIGHER_IS_BETTER, Metric

Rate = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "error_rate"]


class SliceThreshold(SpecModel):
    """Every declared slice with enough rows must reach `bound`; with a `feature`, only its slices must.

    For a metric where lower is better, the bound is a ceiling.
    """

    kind: Literal["slice_threshold"] = "slice_threshold"
    metric: Metric
    bound: float
    feature: Identifier | None = None

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        word = "at least" if self.METRICS[metric].higher_is_better else "at most"
        return f"{self.metric} is {word} {self.bound:g} on every slice {_by(self.feature)}"


class NoInferiorSlice(SpecModel):
    """On no declared slice may the candidate be shown to be worse than the champion by more than `margin`.

    Each slice is tested one-sided, and the tests are corrected for being many (Holm): with a
    candidate that is nowhere worse, the gate says no with probability `level` at most.
    """

    kind: Literal["no_inferior_slice"] = "no_inferior_slice"
    metric: Metric
    margin: Annotated[float, Field(ge=0)] = 0.0
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    feature: Identifier | None = None

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return (
            f"on no slice {_by(self.feature)} is {self.metric} shown to be worse than the champion's by more than "
            f"{self.margin:g} (level {self.level:g}, Holm's correction)"
        )


class FairnessGap(SpecModel):
    """The groups of a declared feature must be treated alike: a rate may differ between them by at most `bound`.

    Rates of a binary model, at the threshold of its F1: ``selection_rate`` (demographic parity),
    ``true_positive_rate`` (equal opportunity), ``false_positive_rate``, ``error_rate``. Groups of
    fewer than `fewest` rows are left out, and named.
    """

    kind: Literal["fairness_gap"] = "fairness_gap"
    feature: Identifier
    rate: Rate = "true_positive_rate"
    bound: Annotated[float, Field(gt=0, le=1)]
    fewest: PositiveInt = 200

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        rate = self.rate.replace("_", " ")
        return f"the {rate} differs between the groups of {self.feature} by at most {self.bound:g}"


def _by(feature: str | None) -> str:
    return "declared" if feature is None else f"by {feature}"
