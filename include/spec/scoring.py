"""Scoring: how partitions are cut, what their scores must look like, and how long they are kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from include.spec.base import ClassLabel, Identifier, PositiveDuration, SpecModel


class MeanScore(SpecModel):
    """The mean of an answer column over a partition is from `low` to `high`, both included."""

    kind: Literal["mean_score"] = "mean_score"
    column: Identifier
    low: float
    high: float

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        _low_before_high(self.low, self.high)
        return self


class ClassShare(SpecModel):
    """The share of a partition's rows that are predicted `label` is from `low` to `high`, both included."""

    kind: Literal["class_share"] = "class_share"
    label: ClassLabel
    low: float
    high: float

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        _low_before_high(self.low, self.high)
        return self


def _low_before_high(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low must not be above high; found low={low}, high={high}")


Bound = Annotated[MeanScore | ClassShare, Field(discriminator="kind")]


class Scoring(SpecModel):
    """How a score partition is made and how long it is kept.

    A partition of more than `shard_rows` rows is cut into shards, at most 64, which workers score at the same
    time. Scores outside the `bounds` are not published. Partitions that ended more than `keep` ago are
    removed; with `retain_latest`, not those that hold the newest score of any key. Where keys never come again (a
    flight flies once), that is every partition: with ``retain_latest=False`` age alone decides, and look-ups find
    what is left.

    The running service is asked about `parity_rows` of each partition, and must answer the very numbers, or
    numbers at most `parity_ulp` units in the last place of single precision away. Otherwise there is an
    alert; with ``block`` it is asked before publication, and nothing is published.
    """

    shard_rows: PositiveInt = 1_000_000
    bounds: tuple[Bound, ...] = ()
    keep: PositiveDuration | None = None
    retain_latest: bool = True
    parity: Literal["alert", "block", "off"] = "alert"
    parity_rows: Annotated[int, Field(ge=1, le=10_000)] = 50
    parity_ulp: NonNegativeInt = 0
