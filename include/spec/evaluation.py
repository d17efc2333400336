"""The settings of an evaluation: confidence intervals and slices."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from include.spec.base import Identifier, PositiveDuration, SpecModel


class Slice(SpecModel):
    """Parts of the holdout with metrics of their own, by one feature.

    A categorical or boolean feature gives one slice for each value. A numeric one is cut at `cuts`, in
    ascending order: two cuts make three slices. Missing values are a separate slice.
    """

    feature: Identifier
    cuts: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _cuts_ascend(self) -> Self:
        if any(right <= left for left, right in pairwise(self.cuts)):
            raise ValueError(f"cuts must ascend; found {', '.join(f'{cut:g}' for cut in self.cuts)}")
        return self


class EvaluationConfig(SpecModel):
    """Settings of an evaluation: confidence level, bootstrap resamples and data slices.

    Rows of the same period (`block_length`) resemble each other, so the bootstrap resamples whole periods. Slices with
    fewer than `min_slice_rows` rows are left out, and counted. `quantile` is the quantile of a regression's pinball
    loss.
    """

    confidence_level: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    n_resamples: Annotated[int, Field(ge=200, le=20_000)] = 2000
    block_length: PositiveDuration = timedelta(days=1)
    slices: tuple[Slice, ...] = ()
    min_slice_rows: Annotated[int, Field(ge=20)] = 200
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
