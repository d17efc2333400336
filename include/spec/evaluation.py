"""How a candidate is judged: which slices are looked at, and how sure an interval is."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from include.spec.base import Identifier, PositiveDuration, SpecModel


class Slice(SpecModel):
    """Parts of the holdout that are looked at one by one.

    By each value of a categorical or boolean feature; of a numeric one, by the `cuts`, in ascending
    order: two cuts make three slices. Missing values are a slice of their own.
    """

    feature: Identifier
    cuts: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _cuts_ascend(self) -> Self:
        if any(right <= left for left, right in pairwise(self.cuts)):
            raise ValueError(f"cuts must ascend; found {', '.join(f'{cut:g}' for cut in self.cuts)}")
        return self


class EvaluationConfig(SpecModel):
    """How sure the figures of an evaluation are, and where it looks closer.

    Rows of the same stretch of time (`block`) resemble each other, so resampling draws whole
    stretches. Slices of fewer than `slice_rows` rows are left out, and counted. `quantile` is the one
    whose pinball loss is measured for a regression.
    """

    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=200, le=20_000)] = 2000
    block: PositiveDuration = timedelta(days=1)
    slices: tuple[Slice, ...] = ()
    slice_rows: Annotated[int, Field(ge=20)] = 200
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
