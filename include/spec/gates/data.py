"""Gates on the rows that a candidate learned from and was judged on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from include.spec.base import Identifier, PositiveDuration, SpecModel

Share = Annotated[float, Field(ge=0, le=1)]


class MinimumLabels(SpecModel):
    """The holdout must hold at least `rows` labelled rows, and `per_class` of every class."""

    kind: Literal["minimum_labels"] = "minimum_labels"
    rows: PositiveInt
    per_class: NonNegativeInt = 0

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        more = f", and {self.per_class:,} of every class" if self.per_class else ""
        return f"the holdout has at least {self.rows:,} labelled rows{more}"


class DataFreshness(SpecModel):
    """The newest row of the holdout must be at most `age` older than the end of the holdout."""

    kind: Literal["data_freshness"] = "data_freshness"
    age: PositiveDuration

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"the newest row is at most {self.age} older than the end of the holdout"


class NoConstantFeature(SpecModel):
    """No feature may have a single value in all training rows, or in all holdout rows, unless it is `allowed` to."""

    kind: Literal["no_constant_feature"] = "no_constant_feature"
    allowed: tuple[Identifier, ...] = ()

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return "no feature is constant" + _but(self.allowed)


class NoLeakage(SpecModel):
    """No single feature may predict the label nearly alone, or stop predicting it after the training period.

    A feature's strength is what a table of its values alone, learned on training rows, reaches on
    later rows: ROC AUC for classes (against 0.5), R² for values. `alone` bounds the strength on the
    holdout. `drop` bounds how much of the strength that it had within the training period is gone on
    the holdout: a feature written or corrected after the event is complete in old rows only.
    """

    kind: Literal["no_leakage"] = "no_leakage"
    alone: Share = 0.98
    drop: Share = 0.15
    allowed: tuple[Identifier, ...] = ()

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return (
            f"no single feature predicts the target with a strength of {self.alone:g} or more, or loses more than "
            f"{self.drop:g} of it after the training period" + _but(self.allowed)
        )


class ForbiddenColumns(SpecModel):
    """No feature may have one of these names; ``*`` stands for any characters."""

    kind: Literal["forbidden_columns"] = "forbidden_columns"
    names: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"no feature is named {' or '.join(self.names)}"


class TrainingServingSkew(SpecModel):
    """A row must be the same in training and in serving.

    The last day of the holdout is asked for again as scoring asks, a day at a time and without the
    target, and encoded as the service encodes; at most a `share` of its rows may differ in any
    feature. It stops a query whose features depend on which period was asked for.
    """

    kind: Literal["training_serving_skew"] = "training_serving_skew"
    share: Share = 0.01

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"no feature differs between training and serving in more than {self.share:.2%} of the rows"


class HoldoutReuse(SpecModel):
    """At most `most` candidates may have been judged on holdouts that share days with this one."""

    kind: Literal["holdout_reuse"] = "holdout_reuse"
    most: PositiveInt

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"at most {self.most} earlier candidates were judged on the same days"


def _but(allowed: tuple[str, ...]) -> str:
    return f" ({', '.join(allowed)} excepted)" if allowed else ""
