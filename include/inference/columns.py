"""Columns of tensors become the matrix that a model is given, by the same rules as `RowEncoder` applies to rows.

What a row costs in Python is paid here once a column. As there, the usual column fits: a fast pass
looks at its extremes only, and a thorough pass finds out what is wrong where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.inference.coded import Coded, Coder, coder_of
from include.inference.encoder import LARGEST, UnfitError, expected_of, value_encoder
from include.inference.faults import MOST_FAULTS, Fault, member, rejection
from include.inference.signature import Signature
from include.inference.words import Words, known_words, words_writer
from include.spec import Boolean, Categorical, Numeric

Column = NDArray[Any] | Sequence[Any]
# Writes a column of the matrix, and returns where it could not: None, or a mask of the rows at fault.
_Bad = NDArray[np.bool_] | None
_Write = Callable[[Column, NDArray[np.float32]], _Bad]
_WriteArray = Callable[[NDArray[Any], NDArray[np.float32]], _Bad]

# Numbers of these types are themselves in single precision, so that they can be checked there, all at once.
_EXACT: Final = frozenset(np.dtype(name) for name in ("f2", "f4", "i1", "i2", "u1", "u2"))


class ColumnEncoder:
    """Turns columns into the matrix that a `Scorer` takes.

    A column is one of

    - an array of floats or integers: for a numeric feature; NaN is missing. Of 0, 1 and NaN, also for
      a boolean feature that may be missing: a tensor of booleans has no missing;
    - an array of bool: for a boolean feature;
    - `Words`, or a list of bytes: strings in UTF-8, for a categorical feature;
    - what the feature's `coders` made of a tensor;
    - a list of values as `RowEncoder` takes them.

    In the lists, the empty string is missing, where that is allowed and it is not a category.

    Parameters
    ----------
    signature : Signature
        Says which features there are, in which order, and what each may hold.

    Attributes
    ----------
    coders : mapping of str to Coder
        What reads a tensor's bytes at once, for the categorical features of few categories.
    """

    def __init__(self, signature: Signature) -> None:
        self.names = signature.names
        coders = {each.name: coder_of(known_words(each)) for each in signature.features if each.kind == "categorical"}
        self.coders: Mapping[str, Coder] = {name: coder for name, coder in coders.items() if coder is not None}
        self._writers = tuple(_writer_of(feature) for feature in signature.features)
        bounds = [_bounds(feature) if feature.kind == "numeric" else (0, 0) for feature in signature.features]
        self._numeric = [feature.kind == "numeric" for feature in signature.features]
        self._missing = np.array([feature.missing for feature in signature.features], dtype=np.bool_)
        self._low, self._high = np.array(bounds, dtype=np.float64).T
        self._expected = tuple(expected_of(value_encoder(feature)) for feature in signature.features)

    def encode(
        self, columns: Mapping[str, Column], rows: int, path_of: Callable[[int, int], str] | None = None
    ) -> NDArray[np.float32]:
        """Encode one column a feature, each of `rows` values.

        Parameters
        ----------
        columns : mapping of str to Column
            Exactly the features of the signature.
        rows : int
        path_of : callable, optional
            Says how row i of feature j is named in a fault; by default ``inputs.<feature>[i]``.

        Returns
        -------
        ndarray of float32, shape (rows, n_features)

        Raises
        ------
        RowsRejectedError
            Holding all faults, row by row, or the first 20 of them.
        """
        block = np.empty((len(self.names), rows), dtype=np.float32)  # a feature after the other, until all fit
        if rows == 0:
            return block.reshape(0, len(self.names))
        bad: dict[int, NDArray[np.bool_]] = {}
        together: list[int] = []
        for position, (name, write) in enumerate(zip(self.names, self._writers, strict=True)):
            column = columns[name]
            if self._numeric[position] and isinstance(column, np.ndarray) and column.dtype in _EXACT:
                block[position] = column
                together.append(position)
            elif (mask := write(column, block[position])) is not None:
                bad[position] = mask
        for position in self._unfit(block, together):
            mask = self._writers[position](columns[self.names[position]], block[position])
            if mask is not None:
                bad[position] = mask
        if bad:
            faults = self._faults(columns, bad, path_of or self._path)
            raise rejection(faults)
        return np.ascontiguousarray(block.T)

    def _unfit(self, block: NDArray[np.float32], positions: list[int]) -> list[int]:
        """Return those of `positions` at which some number does not fit; their columns lost nothing in `block`."""
        if not positions:
            return []
        fits = (np.fmin.reduce(block, axis=1) >= self._low) & (np.fmax.reduce(block, axis=1) <= self._high)
        fits &= self._missing | ~np.logical_or.reduce(np.isnan(block), axis=1)
        listed = fits.tolist()
        return [position for position in positions if not listed[position]]

    def _path(self, row: int, position: int) -> str:
        return f"{member('inputs', self.names[position])}[{row}]"

    def _faults(
        self, columns: Mapping[str, Column], bad: dict[int, NDArray[np.bool_]], path_of: Callable[[int, int], str]
    ) -> Iterator[Fault]:
        found = sorted(
            (row, position) for position, mask in bad.items() for row in np.flatnonzero(mask)[:MOST_FAULTS].tolist()
        )
        for row, position in found:
            value = columns[self.names[position]][row]
            yield Fault.of(path_of(row, position), self._expected[position], _plain(value))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _writer_of(feature: Numeric | Categorical | Boolean) -> _Write:
    by_value, by_array = _by_value(feature), _by_array(feature)
    by_word = words_writer(feature) if feature.kind == "categorical" else by_value

    def write(column: Column, out: NDArray[np.float32]) -> _Bad:
        if isinstance(column, np.ndarray):
            return by_array(column, out)
        if type(column) is Coded:
            out[:] = column.codes
            return None
        if type(column) is Words or type(column[0]) is bytes:
            return by_word(column, out)
        return by_value(column, out)

    return write


def _by_array(feature: Numeric | Categorical | Boolean) -> _WriteArray:
    if feature.kind == "numeric":
        return _numbers(feature)
    return _no_category if feature.kind == "categorical" else _booleans(feature)


def _all_bad(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(len(column), dtype=np.bool_)


def _no_category(column: NDArray[Any], _out: NDArray[np.float32]) -> _Bad:
    return _all_bad(column)  # an array holds numbers


def _by_value(feature: Numeric | Categorical | Boolean) -> _Write:
    encode = value_encoder(feature)
    empty_is_missing = feature.kind == "categorical" and feature.missing and "" not in feature.categories

    def write(column: Column, out: NDArray[np.float32]) -> _Bad:
        values = [None if value == "" else value for value in column] if empty_is_missing else column
        try:
            out[:] = [encode(value) for value in values]
        except UnfitError:
            return np.array([not _fits(encode, value) for value in values], dtype=np.bool_)
        return None

    return write


def _fits(encode: Callable[[Any], float], value: Any) -> bool:
    try:
        encode(value)
    except UnfitError:
        return False
    return True


def _bounds(feature: Numeric) -> tuple[float, float]:
    if feature.out_of_range == "accept":
        return -LARGEST, LARGEST
    return max(feature.low, -LARGEST), min(feature.high, LARGEST)


def _numbers(feature: Numeric) -> _WriteArray:
    missing = feature.missing
    low, high = _bounds(feature)
    least, most = (np.fmin.reduce, np.fmax.reduce) if missing else (np.min, np.max)  # fmin looks past NaN

    def write(column: NDArray[Any], out: NDArray[np.float32]) -> _Bad:
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


def _booleans(feature: Boolean) -> _WriteArray:
    missing = feature.missing

    def write(column: NDArray[Any], out: NDArray[np.float32]) -> _Bad:
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
