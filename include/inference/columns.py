"""Columns of tensors become the matrix that a model is given, by the same rules as `RowEncoder` applies to rows.

What a row costs in Python is paid here once a column. As there, the usual column fits: a fast pass
looks at its extremes only, and a thorough pass finds out what is wrong where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.inference.dictionary_codec import DictionaryArray, DictionaryCodec
from include.inference.feature_types import EncodeValue, FeatureType, InvalidMask, InvalidValueError
from include.inference.field_errors import MAX_FIELD_ERRORS, FieldError, member_path, rows_rejected
from include.inference.model_signature import ModelSignature
from include.inference.string_columns import StringColumn
from include.inference.unknown_categories import UnknownCategoryCounter, counting_types

Column = NDArray[Any] | Sequence[Any]
# Writes a column of the matrix, and returns where it could not.
_Write = Callable[[Column, NDArray[np.float32]], InvalidMask]

# Numbers of these types are themselves in single precision, so that they can be checked there, all at once.
_EXACT: Final = frozenset(np.dtype(name) for name in ("f2", "f4", "i1", "i2", "u1", "u2"))


class ColumnBlock(NamedTuple):
    """Columns of numbers that lie in one array, so that they are written at once.

    Attributes
    ----------
    positions : ndarray of intp, shape (n_columns,)
        Of their features in the signature.
    values : ndarray, shape (n_columns, n_rows)
    """

    positions: NDArray[np.intp]
    values: NDArray[Any]


class ColumnEncoder:
    """Turns columns into the matrix that a `Scorer` takes.

    A column is one of

    - an array of floats or integers: for a numeric feature; NaN is missing. Of 0, 1 and NaN, also for
      a boolean feature that may be missing: a tensor of booleans has no missing;
    - an array of bool: for a boolean feature;
    - `StringColumn`, or a list of bytes: strings in UTF-8, for a categorical feature;
    - what the feature's `codecs` made of a tensor;
    - a list of values as `RowEncoder` takes them.

    In the lists, the empty string is missing, where that is allowed and it is not a category.

    Parameters
    ----------
    signature : ModelSignature
        Says which features there are, in which order, and what each may hold.
    unknown : UnknownCategoryCounter, optional
        Counts the values that are categories which the model does not know, also of rows that are rejected.

    Attributes
    ----------
    types : tuple of FeatureType
        In the order of the features.
    codecs : mapping of str to DictionaryCodec
        For the features with few categories: decodes a whole tensor at once.
    """

    def __init__(self, signature: ModelSignature, unknown: UnknownCategoryCounter | None = None) -> None:
        self.names = signature.names
        self.types = counting_types(signature, unknown)
        codecs = {each.feature.name: each.codec() for each in self.types}
        self.codecs: Mapping[str, DictionaryCodec] = {
            name: codec for name, codec in codecs.items() if codec is not None
        }
        self._all = frozenset(range(len(self.names)))
        self._writers = tuple(_writer_of(each) for each in self.types)
        self._in_block = [each.block_bounds is not None for each in self.types]
        self._bounds = [(*(each.block_bounds or (0, 0)), each.feature.nullable) for each in self.types]

    def encode(
        self,
        columns: Mapping[str, Column],
        rows: int,
        path_of: Callable[[int, int], str] | None = None,
        blocks: Sequence[ColumnBlock] = (),
    ) -> NDArray[np.float32]:
        """Encode one column a feature, each of `rows` values.

        Parameters
        ----------
        columns : mapping of str to Column
            Exactly the features of the signature.
        rows : int
        path_of : callable, optional
            Says how row i of feature j is named in a fault; by default ``inputs.<feature>[i]``.
        blocks : sequence of ColumnBlock
            Where columns of numeric features lie together; each is among `columns`, too.

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
        for positions, values in blocks:
            if values.dtype in _EXACT:
                block[positions] = values
                together += positions.tolist()
        for position in self._all.difference(together):
            column = columns[self.names[position]]
            if self._in_block[position] and isinstance(column, np.ndarray) and column.dtype in _EXACT:
                block[position] = column
                together.append(position)
            elif (mask := self._writers[position](column, block[position])) is not None:
                bad[position] = mask
        for position in self._invalid(block, together):
            mask = self._writers[position](columns[self.names[position]], block[position])
            if mask is not None:
                bad[position] = mask
        if bad:
            raise rows_rejected(self._errors(columns, bad, path_of or self._path))
        return np.ascontiguousarray(block.T)

    def _invalid(self, block: NDArray[np.float32], positions: list[int]) -> list[int]:
        """Return those of `positions` at which some number does not fit; their columns lost nothing in `block`."""
        if not positions:
            return []
        # Three calls for all columns, and Python for the rest: between two requests the model has emptied the caches.
        least, most = np.fmin.reduce(block, axis=1).tolist(), np.fmax.reduce(block, axis=1).tolist()
        whole = np.minimum.reduce(block, axis=1).tolist()  # NaN if one is
        invalid = []
        for position in positions:
            low, high, missing = self._bounds[position]
            inside = low <= least[position] and most[position] <= high  # NaN, if all are, compares false
            if not inside or not (missing or whole[position] == whole[position]):
                invalid.append(position)
        return invalid

    def _path(self, row: int, position: int) -> str:
        return f"{member_path('inputs', self.names[position])}[{row}]"

    def _errors(
        self, columns: Mapping[str, Column], bad: dict[int, NDArray[np.bool_]], path_of: Callable[[int, int], str]
    ) -> Iterator[FieldError]:
        found = sorted(
            (row, position)
            for position, mask in bad.items()
            for row in np.flatnonzero(mask)[:MAX_FIELD_ERRORS].tolist()
        )
        for row, position in found:
            value = columns[self.names[position]][row]
            yield FieldError.of(path_of(row, position), self.types[position].expected, _plain(value))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _writer_of(each: FeatureType[Any]) -> _Write:
    by_value, by_array = _by_value(each), each.array_writer()
    by_string = each.string_writer() or by_value

    def write(column: Column, out: NDArray[np.float32]) -> InvalidMask:
        if isinstance(column, np.ndarray):
            return by_array(column, out)
        if type(column) is DictionaryArray:
            out[:] = column.codes
            return None
        if isinstance(column, StringColumn) or type(column[0]) is bytes:
            return by_string(column, out)
        return by_value(column, out)

    return write


def _by_value(each: FeatureType[Any]) -> _Write:
    encode, empty_is_missing = each.value_encoder(), each.empty_is_missing

    def write(column: Column, out: NDArray[np.float32]) -> InvalidMask:
        values = [None if value == "" else value for value in column] if empty_is_missing else column
        try:
            out[:] = [encode(value) for value in values]
        except InvalidValueError:
            return np.array([not _is_valid(encode, value) for value in values], dtype=np.bool_)
        return None

    return write


def _is_valid(encode: EncodeValue, value: Any) -> bool:
    try:
        encode(value)
    except InvalidValueError:
        return False
    return True
