"""Scoring: how partitions are split, the bounds of their scores, and their retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from include.spec.base import Identifier, PositiveDuration, SpecModel
from include.spec.class_labels import ClassLabel


class MeanScore(SpecModel):
    """The mean of a score column over a partition must be from `minimum` to `maximum`, both included."""

    kind: Literal["mean_score"] = "mean_score"
    column: Identifier
    minimum: float
    maximum: float

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        _check_range(self.minimum, self.maximum)
        return self


class ClassShare(SpecModel):
    """The share of a partition's rows with the predicted class `label` is from `minimum` to `maximum`, inclusive."""

    kind: Literal["class_share"] = "class_share"
    label: ClassLabel
    minimum: float
    maximum: float

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        _check_range(self.minimum, self.maximum)
        return self


def _check_range(minimum: float, maximum: float) -> None:
    if minimum > maximum:
        raise ValueError(f"minimum must not be above maximum; found minimum={minimum}, maximum={maximum}")


Bound = Annotated[MeanScore | ClassShare, Field(discriminator="kind")]


LateRowsPolicy = Literal["ignore", "report", "rescore"]
"""What becomes of a published partition whose source rows have changed since."""


class Scoring(SpecModel):
    """How a score partition is made, checked and kept.

    A partition of more than `shard_rows` rows is split into shards, at most 64, which workers score in
    parallel. Scores outside the `bounds` are not published. Partitions that ended more than `retention`
    ago are removed; with `retain_latest`, a partition that contains the newest score of any key stays.
    Where keys never return (a flight departs once), that is every partition: with
    ``retain_latest=False`` only the age decides, and look-ups find what is left.

    The running service predicts `parity_rows` rows of each partition. Its scores must be
    equal to the published ones, or differ by at most `parity_ulp` units in the last place of single
    precision. Otherwise there is an alert. With ``parity="block"`` the check runs before publication,
    and a difference prevents it.

    After each partition that the DAG publishes, the partitions of the `late_rows_window` before it are compared with
    their source. If rows were inserted, deleted or changed since a partition was scored, ``late_rows="report"`` alerts
    once for each change, and ``"rescore"`` scores the partition again. With ``"ignore"`` nothing is compared.

    A partition with more than `max_unknown` of its rows in categories of a feature that the version does not know is
    published with a warning.
    """

    shard_rows: PositiveInt = 1_000_000
    bounds: tuple[Bound, ...] = ()
    retention: PositiveDuration | None = None
    retain_latest: bool = True
    parity: Literal["alert", "block", "off"] = "alert"
    parity_rows: Annotated[int, Field(ge=1, le=10_000)] = 50
    parity_ulp: NonNegativeInt = 0
    late_rows: LateRowsPolicy = "report"
    late_rows_window: PositiveDuration = timedelta(days=3)
    max_unknown: Annotated[float, Field(ge=0, le=1)] = 0.1
