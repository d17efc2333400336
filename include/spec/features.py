"""Features: the inputs of a model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from include.spec.base import ColumnName, Fault, FaultsError, SpecModel

MatrixType = Literal["numeric", "categorical", "boolean"]
"""What a feature's column in the matrix holds: numbers, codes of categories, or 0 and 1."""


def number_text(value: float) -> str:
    """Return a number as people write it, with all its digits: 100 for 100.0."""
    return repr(float(value)).removesuffix(".0")


class Numeric(SpecModel):
    """A number, with its unit and its valid range.

    A value is compared with `minimum` and `maximum` as the model sees it: value and bound are rounded to double and
    then to single precision, both ends are included. So 0.1 in a ``real`` column is within ``maximum=0.1``, and so is
    any other number that single precision does not tell from it. A batch, whatever numeric type its column has, and
    the service, as JSON and as tensors of any type, take the same values.

    A value beyond the range is rejected with ``out_of_range="error"``, in batches (the data contract) and by the
    service. With ``"ignore"`` both accept it; the range then only describes the usual values. A number that is infinite
    in single precision, or none, is rejected either way.
    """

    kind: Literal["numeric"] = "numeric"
    name: ColumnName
    unit: str
    minimum: float
    maximum: float
    nullable: bool = False
    out_of_range: Literal["error", "ignore"] = "error"

    matrix_type: ClassVar[MatrixType] = "numeric"
    sql_type: ClassVar[str] = "double precision"
    sql_types: ClassVar[tuple[str, ...]] = ("smallint", "integer", "bigint", "real", "double precision", "numeric")

    def describe_values(self, most: int | None = None) -> str:  # noqa: ARG002  # as all features have it
        """Return the range and the unit, for documents."""
        return f"{number_text(self.minimum)} to {number_text(self.maximum)} {self.unit}".strip()

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.maximum <= self.minimum:
            found = f"maximum must be above minimum; found minimum={self.minimum}, maximum={self.maximum}"
            raise FaultsError([Fault(("maximum",), found)])
        return self


class Categorical(SpecModel):
    """One of several strings.

    Without `categories`, they are learned from the training rows and kept with the artifact.
    `handle_unknown` is scikit-learn's: a category that is not known is treated like a missing value
    with ``"ignore"``. With ``"error"``, the row is rejected, and a batch with such a row fails validation;
    rows to train on do so only if `categories` are declared.
    """

    kind: Literal["categorical"] = "categorical"
    name: ColumnName
    categories: tuple[str, ...] = ()
    nullable: bool = False
    handle_unknown: Literal["error", "ignore"] = "ignore"

    matrix_type: ClassVar[MatrixType] = "categorical"
    sql_type: ClassVar[str] = "text"
    sql_types: ClassVar[tuple[str, ...]] = ("text", "varchar", "char")

    def describe_values(self, most: int | None = None) -> str:
        """Return the categories, or the first `most` of them, for documents."""
        if not self.categories:
            return "learned from the training rows"
        shown = self.categories if most is None else self.categories[:most]
        more = len(self.categories) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


class Boolean(SpecModel):
    """True or false."""

    kind: Literal["boolean"] = "boolean"
    name: ColumnName
    nullable: bool = False

    matrix_type: ClassVar[MatrixType] = "boolean"
    sql_type: ClassVar[str] = "boolean"
    sql_types: ClassVar[tuple[str, ...]] = ("boolean",)

    def describe_values(self, most: int | None = None) -> str:  # noqa: ARG002  # as all features have it
        """Return the two values, for documents."""
        return "true or false"


Feature = Annotated[Numeric | Categorical | Boolean, Field(discriminator="kind")]


class Columns:
    """The positions of the features in the estimator's matrix.

    The estimator sees ``X`` of shape (n_samples, n_features), float32, in the declared order:
    numbers as they are with NaN for missing, booleans as 0 and 1 with NaN for missing, categories as
    codes 0, 1, 2, ... in sorted order with -1 for missing or never seen.
    """

    __slots__ = ("boolean", "categorical", "names", "numeric")

    def __init__(self, features: tuple[Feature, ...]) -> None:
        self.names: tuple[str, ...] = tuple(feature.name for feature in features)
        self.numeric: list[int] = [i for i, f in enumerate(features) if f.matrix_type == "numeric"]
        self.categorical: list[int] = [i for i, f in enumerate(features) if f.matrix_type == "categorical"]
        self.boolean: list[int] = [i for i, f in enumerate(features) if f.matrix_type == "boolean"]

    def index(self, *names: str) -> list[int]:
        """Return the positions of the features `names`.

        Raises
        ------
        ValueError
            When there is no such feature; the message lists those that there are.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(
                f"expected names of features; found {', '.join(map(repr, unknown))}; features: {', '.join(self.names)}"
            )
        return [self.names.index(name) for name in names]
