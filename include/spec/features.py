"""Features: what a model is told of a row."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from include.spec.base import Identifier, SpecModel


class Numeric(SpecModel):
    """A number, with its unit and the range in which it makes sense.

    `out_of_range` is what the service does with a value beyond the range; in batches the data
    contract stops such a value either way.
    """

    kind: Literal["numeric"] = "numeric"
    name: Identifier
    unit: str
    low: float
    high: float
    missing: bool = False
    out_of_range: Literal["reject", "accept"] = "reject"

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"maximum must be above minimum; found low={self.low}, high={self.high}")
        return self


class Categorical(SpecModel):
    """One of several strings.

    With no `categories`, they are learned from the training rows and kept with the artifact.
    `unknown` is what happens to a category never seen: ``encode`` treats it as missing is treated,
    ``reject`` refuses the row (and, with declared `categories`, stops a batch at validation).
    """

    kind: Literal["categorical"] = "categorical"
    name: Identifier
    categories: tuple[str, ...] = ()
    missing: bool = False
    unknown: Literal["reject", "encode"] = "encode"


class Boolean(SpecModel):
    """True or false."""

    kind: Literal["boolean"] = "boolean"
    name: Identifier
    missing: bool = False


Feature = Annotated[Numeric | Categorical | Boolean, Field(discriminator="kind")]


class Columns:
    """Where each feature stands in the matrix that an estimator is given.

    The estimator sees ``X`` of shape (n_samples, n_features), float32, in the declared order:
    numbers as they are with NaN for missing, booleans as 0 and 1 with NaN for missing, categories as
    codes 0, 1, 2, ... in sorted order with -1 for missing or never seen.
    """

    __slots__ = ("boolean", "categorical", "names", "numeric")

    def __init__(self, features: tuple[Numeric | Categorical | Boolean, ...]) -> None:
        self.names: tuple[str, ...] = tuple(feature.name for feature in features)
        self.numeric: list[int] = [i for i, f in enumerate(features) if f.kind == "numeric"]
        self.categorical: list[int] = [i for i, f in enumerate(features) if f.kind == "categorical"]
        self.boolean: list[int] = [i for i, f in enumerate(features) if f.kind == "boolean"]

    def index(self, *names: str) -> list[int]:
        """Return the positions of the features `names`."""
        return [self.names.index(name) for name in names]
