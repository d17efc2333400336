"""True or false."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.inference.feature_types.base import (
    MISSING,
    EncodeArrow,
    EncodeValue,
    FeatureType,
    FloatColumn,
    InvalidMask,
    InvalidValueError,
    WriteArray,
)
from include.inference.tensor_types import FLOAT_TYPES
from include.spec import Boolean


class BooleanType(FeatureType[Boolean], declaration=Boolean):
    """A boolean: 0 or 1 in the matrix, NaN if missing."""

    tensor_type = "BOOL"
    json_tensor_type = "BOOL"

    @property
    def expected(self) -> str:
        """What a value may be."""
        return "true or false" + (", or null" if self.feature.nullable else "")

    def value_encoder(self) -> EncodeValue:
        """Return the function that encodes one boolean."""
        missing, expected = self.feature.nullable, self.expected

        def encode(value: Any) -> float:
            if value is True:
                return 1.0
            if value is False:
                return 0.0
            if value is None and missing:
                return MISSING
            raise InvalidValueError(expected)

        return encode

    def array_writer(self) -> WriteArray:
        """Return the function that writes an array of booleans, or of 0, 1 and NaN where missing is allowed."""
        missing = self.feature.nullable

        def write(column: NDArray[Any], out: FloatColumn) -> InvalidMask:
            if column.dtype.kind == "b":
                out[:] = column
                return None
            if column.dtype.kind != "f" or not missing:
                return np.ones(len(column), dtype=np.bool_)
            invalid: NDArray[np.bool_] = ~((column == 0) | (column == 1) | np.isnan(column))
            if invalid.any():
                return invalid
            out[:] = column
            return None

        return write

    def arrow_encoder(self) -> EncodeArrow:
        """Return the function that encodes a column of booleans."""
        from include.inference.batch import numbers_of  # it needs pyarrow, which the service does not have

        return numbers_of

    @property
    def tensor_types(self) -> tuple[str, ...]:
        """BOOL; where missing is allowed, which BOOL does not have, 0, 1 and NaN too."""
        return ("BOOL", *FLOAT_TYPES) if self.feature.nullable else ("BOOL",)

    def _value_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def example(self) -> bool:
        """Return true."""
        return True

    def invalid_values(self) -> Iterator[tuple[Any, str]]:
        """Yield values that are not booleans."""
        yield from super().invalid_values()
        yield "yes", "a string in place of true or false"

    def probe_values(self) -> Iterator[tuple[str, float]]:
        """Yield false and true."""
        for value in (0.0, 1.0):
            yield "false and true", value

    def decoded(self, column: FloatColumn) -> list[bool | None]:
        """Return the numbers as true and false."""
        return [None if value != value else value == 1 for value in column.tolist()]

    def slice_codes(self, column: FloatColumn) -> tuple[NDArray[np.intp], list[str]]:
        """Cut into missing, false and true."""
        return np.where(np.isnan(column), 0, column + 1).astype(np.intp), ["missing", "false", "true"]
