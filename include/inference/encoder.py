"""Encodes rows of JSON as the float32 matrix that a model takes, and reports each value that does not fit.

Most rows are valid, so there are two passes. The fast pass calls one small function for each feature and
stops at the first invalid value. Only then the thorough pass calls the same functions for every value and
reports where each error is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.inference.feature_types import EncodeValue, InvalidValueError
from include.inference.field_errors import FieldError, member_path, rows_rejected
from include.inference.model_signature import ModelSignature
from include.inference.unknown_categories import UnknownCategoryCounter, counting_types

Row = Sequence[Any] | Mapping[str, Any]


class RowEncoder:
    """Turns rows into the matrix that a `Scorer` takes.

    Parameters
    ----------
    signature : ModelSignature
        Says which features there are, in which order, and what each may hold.
    unknown : UnknownCategoryCounter, optional
        Counts the values that are categories which the model does not know, also of rows that are rejected.
    """

    def __init__(self, signature: ModelSignature, unknown: UnknownCategoryCounter | None = None) -> None:
        self._names = signature.names
        self._width = len(self._names)
        self._types = counting_types(signature, unknown)
        self._encoders = tuple(each.value_encoder() for each in self._types)
        self._by_name = tuple(zip(self._names, self._encoders, strict=True))
        # Finds the errors of rows that this one has counted already, so it counts nothing.
        self._second_pass = self if unknown is None else RowEncoder(signature)

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self._width

    def encode(self, rows: Sequence[Row], root: str = "$.features") -> NDArray[np.float32]:
        """Encode many rows; a fault's path starts with ``<root>[<row>]``.

        Parameters
        ----------
        rows : sequence of (list, tuple or mapping)
            Each row is the values in declared order, or values by name. Values are JSON's: numbers,
            strings, true, false, null (None).
        root : str
            JSON path of `rows` in the request.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_features)
            A number is rounded to double, then to single precision. Missing is NaN, or -1 for a
            categorical feature; so is a category never seen.

        Raises
        ------
        RowsRejectedError
            Holding all faults, or the first 20 of them.
        """
        if not rows:
            return np.empty((0, self._width), dtype=np.float32)
        try:
            return np.array([self._encode_row(row) for row in rows], dtype=np.float32)
        except (InvalidValueError, KeyError):
            raise rows_rejected(self.find_errors(rows, many=True, root=root)) from None

    def encode_one(self, row: Row, root: str = "$.features") -> NDArray[np.float32]:
        """Encode one row as `encode` does, to shape (1, n_features); a fault's path starts with `root`."""
        return np.array((self.values(row, root),), dtype=np.float32)

    def values(self, row: Row, root: str = "$.features") -> list[float]:
        """Encode one row as `encode` does, to its `n_features` numbers before they are rounded to single precision."""
        try:
            return self._encode_row(row)
        except (InvalidValueError, KeyError):
            raise rows_rejected(self.find_errors(row, many=False, root=root)) from None

    def find_errors(self, features: Any, *, many: bool, root: str = "$.features") -> Iterator[FieldError]:
        """Yield all that is wrong with what `encode` or, of one row, `encode_one` may be given."""
        if self._second_pass is not self:
            yield from self._second_pass.find_errors(features, many=many, root=root)
            return
        if not many:
            yield from self._errors(root, features)
            return
        for position, row in enumerate(features):
            try:
                self._encode_row(row)
            except (InvalidValueError, KeyError):  # only of these rows each value is looked at
                yield from self._errors(f"{root}[{position}]", row)

    def _encode_row(self, row: Any) -> list[float]:
        kind = type(row)
        if kind is list or kind is tuple:
            if len(row) != self._width:
                raise InvalidValueError
            return [encode(value) for encode, value in zip(self._encoders, row, strict=True)]
        if kind is dict or isinstance(row, Mapping):
            if len(row) != self._width:
                raise InvalidValueError
            return [encode(row[name]) for name, encode in self._by_name]
        raise InvalidValueError

    def _errors(self, path: str, row: Any) -> Iterator[FieldError]:
        if isinstance(row, Mapping):
            yield from self._errors_by_name(path, row)
        elif not isinstance(row, list | tuple):
            yield FieldError.of(path, f"a list of {self._width} values, or an object of features by name", row)
        elif len(row) != self._width:
            expected = f"{self._width} values in this order: {', '.join(self._names)}"
            yield FieldError.of(path, expected, row)
        else:
            for position, (encode, value) in enumerate(zip(self._encoders, row, strict=True)):
                yield from _error_of(encode, value, f"{path}[{position}]")

    def _errors_by_name(self, path: str, row: Mapping[str, Any]) -> Iterator[FieldError]:
        for (name, encode), each in zip(self._by_name, self._types, strict=True):
            if name in row:
                yield from _error_of(encode, row[name], member_path(path, name))
            else:
                yield FieldError(member_path(path, name), each.expected, "no such member")
        for name in row:
            if name not in self._names:
                yield FieldError(
                    member_path(path, name), f"only the features {', '.join(self._names)}", "an unknown feature"
                )


def _error_of(encode: EncodeValue, value: Any, path: str) -> Iterator[FieldError]:
    try:
        encode(value)
    except InvalidValueError as error:
        yield FieldError.of(path, str(error), value)
