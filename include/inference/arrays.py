"""Arrays of numbers become columns of the matrix: their extremes are looked at first, each value only if need be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.inference.encoder import bounds_of
from include.spec import Boolean, Categorical, Numeric

# Where a column could not be written: None, or a mask of the rows at fault.
InvalidMask = NDArray[np.bool_] | None
WriteArray = Callable[[NDArray[Any], NDArray[np.float32]], InvalidMask]


def array_writer(feature: Numeric | Categorical | Boolean) -> WriteArray:
    """Return what writes an array as a column of `feature`, and says where it could not."""
    if feature.kind == "numeric":
        return _numbers(feature)
    return _no_category if feature.kind == "categorical" else _booleans(feature)


def _all_bad(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(len(column), dtype=np.bool_)


def _no_category(column: NDArray[Any], _out: NDArray[np.float32]) -> InvalidMask:
    return _all_bad(column)  # an array holds numbers


def _numbers(feature: Numeric) -> WriteArray:
    missing = feature.nullable
    low, high = bounds_of(feature)
    least, most = (np.fmin.reduce, np.fmax.reduce) if missing else (np.min, np.max)  # fmin looks past NaN

    def write(column: NDArray[Any], out: NDArray[np.float32]) -> InvalidMask:
        kind = column.dtype.kind
        if kind not in "fiu":
            return _all_bad(column)
        # As Python's numbers: exact, where NumPy would round the bound to the column's type.
        if not (low <= least(column).item() and most(column).item() <= high):  # NaN compares false
            bad = _beyond(column, low, high)
            if missing and kind == "f":
                bad &= ~np.isnan(column)
            if bad.any():
                return bad
        # Rows go through double precision too; for 64-bit integers that is one rounding more.
        out[:] = column.astype(np.float64) if kind != "f" and column.itemsize == 8 else column
        return None

    return write


def _beyond(column: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    if column.dtype.kind == "f":
        exact = column.astype(np.float64, copy=False)
        return ~((exact >= low) & (exact <= high))
    inside: NDArray[np.bool_] = (column >= math.ceil(low)) & (column <= math.floor(high))
    return ~inside


def _booleans(feature: Boolean) -> WriteArray:
    missing = feature.nullable

    def write(column: NDArray[Any], out: NDArray[np.float32]) -> InvalidMask:
        if column.dtype.kind == "b":
            out[:] = column
            return None
        if column.dtype.kind != "f" or not missing:
            return _all_bad(column)
        bad: NDArray[np.bool_] = ~((column == 0) | (column == 1) | np.isnan(column))
        if bad.any():
            return bad
        out[:] = column
        return None

    return write
