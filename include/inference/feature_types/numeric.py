"""Numbers within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from include.inference.feature_types.base import (
    MAX_FLOAT32,
    MISSING,
    EncodeArrow,
    EncodeValue,
    FeatureType,
    FloatColumn,
    InvalidMask,
    InvalidValueError,
    WriteArray,
)
from include.inference.feature_types.column_checks import Check, in_range
from include.inference.tensor_types import NUMBER_TYPES
from include.spec import Numeric
from include.spec.features import number_text

if TYPE_CHECKING:
    import pyarrow as pa


class NumericType(FeatureType[Numeric], declaration=Numeric):
    """A number: itself in the matrix, NaN if missing."""

    tensor_type = "FP32"
    json_tensor_type = "FP64"
    tensor_types = NUMBER_TYPES

    def __init__(self, feature: Numeric) -> None:
        super().__init__(feature)
        self.open_ended = feature.out_of_range == "ignore"
        # Beyond the largest single-precision number lies infinity, which no estimator was trained on.
        self.declared_bounds: tuple[float, float] = (
            (-MAX_FLOAT32, MAX_FLOAT32)
            if self.open_ended
            else (max(feature.minimum, -MAX_FLOAT32), min(feature.maximum, MAX_FLOAT32))
        )
        low, high = self.declared_bounds
        self.block_bounds: tuple[float, float] = (-_greatest_of(-low), _greatest_of(high))

    @property
    def expected(self) -> str:
        """What a value may be."""
        feature = self.feature
        bounds = "" if self.open_ended else f" from {number_text(feature.minimum)} to {number_text(feature.maximum)}"
        return f"a number{bounds} ({feature.unit})" + (", or null" if feature.nullable else "")

    def value_encoder(self) -> EncodeValue:
        """Return the function that encodes one number."""
        missing, expected = self.feature.nullable, self.expected
        low, high = self.block_bounds

        def encode(value: Any) -> float:
            kind = type(value)
            if kind is float:
                if low <= value <= high:  # NaN compares false
                    return value  # type: ignore[no-any-return]  # it is a float
            elif kind is int:
                try:
                    number = float(value)
                except OverflowError:
                    raise InvalidValueError(expected) from None
                if low <= number <= high:
                    return number
            elif value is None and missing:
                return MISSING
            raise InvalidValueError(expected)

        return encode

    def array_writer(self) -> WriteArray:
        """Return the function that writes an array: it looks at the extremes, and at each value only if need be."""
        missing = self.feature.nullable
        low, high = self.block_bounds
        lowest, highest = (np.fmin.reduce, np.fmax.reduce) if missing else (np.min, np.max)  # fmin ignores NaN

        def write(column: NDArray[Any], out: FloatColumn) -> InvalidMask:
            kind = column.dtype.kind
            if kind not in "fiu":
                return np.ones(len(column), dtype=np.bool_)
            if kind != "f" and column.itemsize == 8:  # as rows of JSON: by way of double precision
                column = column.astype(np.float64)
            # As Python's numbers: exact, where NumPy would round the bound to the column's type.
            if not (low <= lowest(column).item() and highest(column).item() <= high):  # NaN compares false
                invalid = _beyond(column, low, high)
                if missing and kind == "f":
                    invalid &= ~np.isnan(column)
                if invalid.any():
                    return invalid
            out[:] = column
            return None

        return write

    def arrow_encoder(self) -> EncodeArrow:
        """Return the function that encodes a column of numbers."""
        from include.inference.batch import numbers_of  # it needs pyarrow, which the service does not have

        return numbers_of

    def _value_schema(self) -> dict[str, Any]:
        feature = self.feature
        low, high = self.block_bounds  # what is accepted, to the last bit
        return {"type": "number", "minimum": low, "maximum": high, "description": feature.unit}

    def example(self) -> float:
        """Return the middle of the range."""
        feature = self.feature
        return feature.minimum + (feature.maximum - feature.minimum) / 2

    def invalid_values(self) -> Iterator[tuple[Any, str]]:
        """Yield values that are not numbers within the range."""
        yield from super().invalid_values()
        yield "twelve", "a string in place of a number"
        if not self.open_ended:
            feature = self.feature
            yield feature.maximum + 1 + abs(feature.maximum), "a number beyond its range"

    def probe_values(self) -> Iterator[tuple[str, float]]:
        """Yield the ends of what is accepted, the next numbers inside, zeros and the smallest numbers."""
        low, high = (np.float32(each) for each in self.block_bounds)
        inside = [np.nextafter(low, np.float32(0)), np.nextafter(high, np.float32(0))]
        for value in (low, high, *inside):
            yield "at the ends of the range", float(value)
        smallest = np.finfo(np.float32).smallest_subnormal
        for value in (np.float32(0), np.float32(-0.0), smallest, -smallest):
            if low <= value <= high:
                yield "zero, minus zero and denormal numbers", float(value)

    def column_checks(self, column_type: str) -> Iterator[Check]:
        """Yield the checks of nulls and of the range."""
        yield from super().column_checks(column_type)
        yield in_range(self.feature.name, column_type, self.declared_bounds, self.block_bounds, self.expected)

    def changed_meaning(self, declared: Numeric) -> str | None:
        """Compare the units."""
        ours, other = self.feature.unit, declared.unit
        return None if ours == other else f"is in {ours or 'no unit'}, and {other or 'no unit'} is declared"

    def refused_values(self, former: Numeric) -> str | None:
        """Compare the ranges, as the model sees them."""
        before = NumericType(former)
        (low, high), (low_before, high_before) = self.block_bounds, before.block_bounds
        if low <= low_before and high >= high_before:
            return super().refused_values(former)
        return f"must be {self.expected}, and was {before.expected}"

    def merged_values(self, train: pa.ChunkedArray) -> tuple[int, int, float]:
        """Count distinct values in double and in single precision."""
        values = train.drop_null().to_numpy()
        if not len(values):
            return 0, 0, 0.0
        return len(np.unique(values)), len(np.unique(values.astype(np.float32))), float(np.median(values))

    def slice_codes(self, column: FloatColumn) -> tuple[NDArray[np.intp], list[str]]:
        """Cut at the quartiles; missing is a part."""
        known = column[~np.isnan(column)]
        edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75))) if len(known) else np.array([])
        edges = edges[edges > known.min()] if len(known) else edges
        codes = np.where(np.isnan(column), 0, np.searchsorted(edges, column, side="right") + 1).astype(np.intp)
        bounds = [-np.inf, *edges, np.inf]
        return codes, ["missing", *(f"[{low:g}, {high:g})" for low, high in pairwise(bounds))]


def _beyond(column: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    exact = column.astype(np.float64, copy=False)
    inside: NDArray[np.bool_] = (exact >= low) & (exact <= high)
    return ~inside


def _greatest_of(bound: float) -> float:
    """Return the greatest number of double precision that is at most `bound` once both are single precision.

    So one comparison of doubles, in Python, NumPy or SQL, is the comparison of what the model sees.
    """
    with np.errstate(over="ignore"):
        single = np.float32(bound)
        following = 2.0**128 if single == MAX_FLOAT32 else float(np.nextafter(single, np.float32(np.inf)))
        middle = (float(single) + following) / 2
        return middle if np.float32(middle) <= single else math.nextafter(middle, -math.inf)
