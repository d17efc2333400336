"""Gates on the training and holdout rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from include.spec.base import Identifier, PositiveDuration
from include.spec.gates.base import Gate, Share

__all__ = [
    "DataFreshness",
    "ForbiddenColumns",
    "HoldoutReuse",
    "MinimumLabels",
    "NoConstantFeature",
    "NoLeakage",
    "TrainingServingSkew",
]


class MinimumLabels(Gate):
    """The holdout must have at least `rows` labelled rows, and `per_class` rows of every class."""

    kind: Literal["minimum_labels"] = "minimum_labels"
    rows: PositiveInt
    per_class: NonNegativeInt = 0

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        more = f", and {self.per_class:,} of every class" if self.per_class else ""
        return f"the holdout has at least {self.rows:,} labelled rows{more}"


class DataFreshness(Gate):
    """The newest row of the holdout may be at most `max_age` older than the end of the holdout."""

    kind: Literal["data_freshness"] = "data_freshness"
    max_age: PositiveDuration

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"the newest row is at most {self.max_age} older than the end of the holdout"


class NoConstantFeature(Gate):
    """No feature may have a single value in all training rows or in all holdout rows, except those `allowed`."""

    kind: Literal["no_constant_feature"] = "no_constant_feature"
    allowed: tuple[Identifier, ...] = ()

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return "no feature is constant" + _except(self.allowed)


class NoLeakage(Gate):
    """No single feature may predict the target almost alone, or stop predicting it after the training period.

    The strength of a feature is what a table of its values, learned on earlier rows, reaches on
    later rows: ROC AUC for classes (0.5 is no strength), the squared correlation for values (0 is no
    strength). A feature must stay below `max_strength`, with a confidence of 95% on the holdout.
    `max_drop` limits the loss of strength from the weakest of four windows of the training period, with
    a confidence of 95%, to the holdout: a feature that is written or corrected after the event is
    complete only in old rows. Features in `allowed` are not checked.
    """

    kind: Literal["no_leakage"] = "no_leakage"
    max_strength: Share = 0.99
    max_drop: Share = 0.15
    allowed: tuple[Identifier, ...] = ()

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return (
            f"every single feature has a strength below {self.max_strength:g} and loses at most "
            f"{self.max_drop:g} of it after the training period" + _except(self.allowed)
        )


class ForbiddenColumns(Gate):
    """No feature may have one of these names; ``*`` matches any characters."""

    kind: Literal["forbidden_columns"] = "forbidden_columns"
    names: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"no feature is named {' or '.join(self.names)}"


class TrainingServingSkew(Gate):
    """A row must have the same features in training and in serving.

    The last day of the holdout that has rows is read again as scoring reads it, without the target, and
    encoded as the service encodes; more days, up to seven, until 500 rows are read. At most a share of
    `max_share` of these rows may differ in any feature. The gate rejects a query whose features depend
    on the period that is read.
    """

    kind: Literal["training_serving_skew"] = "training_serving_skew"
    max_share: Share = 0.01

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"no feature differs between training and serving in more than {self.max_share:.2%} of the rows"


class HoldoutReuse(Gate):
    """At most `max_uses` earlier candidates may have been evaluated on holdouts that share days with this one."""

    kind: Literal["holdout_reuse"] = "holdout_reuse"
    max_uses: PositiveInt

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"at most {self.max_uses} earlier candidates were evaluated on the same days"


def _except(allowed: tuple[str, ...]) -> str:
    return f" (except {', '.join(allowed)})" if allowed else ""
