"""Rows of JSON become the float32 matrix that a model is given; what does not fit is named.

The usual row fits, so the work is split in two: a fast pass of one small closure a feature, which
stops at the first value that does not fit, and a thorough pass with the same closures, which only
then looks at every value and says what is wrong where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.inference.field_errors import FieldError, member_path, rows_rejected
from include.inference.model_signature import ModelSignature
from include.spec import Boolean, Categorical, Numeric

MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
MISSING: Final = float("nan")
NO_CATEGORY: Final = -1.0
_LISTED = 20  # categories named in a fault

Row = Sequence[Any] | Mapping[str, Any]
_Encode = Callable[[Any], float]


class InvalidValueError(Exception):
    """A value does not fit its feature; the text is what was expected."""


class RowEncoder:
    """Turns rows into the matrix that a `Scorer` takes.

    Parameters
    ----------
    signature : ModelSignature
        Says which features there are, in which order, and what each may hold.
    """

    def __init__(self, signature: ModelSignature) -> None:
        self._names = signature.names
        self._width = len(self._names)
        self._encoders = tuple(value_encoder(feature) for feature in signature.features)
        self._by_name = tuple(zip(self._names, self._encoders, strict=True))

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
        rows = ((f"{root}[{position}]", row) for position, row in enumerate(features)) if many else ((root, features),)
        for path, row in rows:
            yield from self._faults(path, row)

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

    def _faults(self, path: str, row: Any) -> Iterator[FieldError]:
        if isinstance(row, Mapping):
            yield from self._faults_by_name(path, row)
        elif not isinstance(row, list | tuple):
            yield FieldError.of(path, f"a list of {self._width} values, or an object of features by name", row)
        elif len(row) != self._width:
            expected = f"{self._width} values in this order: {', '.join(self._names)}"
            yield FieldError.of(path, expected, row)
        else:
            for position, (encode, value) in enumerate(zip(self._encoders, row, strict=True)):
                yield from _fault_of(encode, value, f"{path}[{position}]")

    def _faults_by_name(self, path: str, row: Mapping[str, Any]) -> Iterator[FieldError]:
        for name, encode in self._by_name:
            if name in row:
                yield from _fault_of(encode, row[name], member_path(path, name))
            else:
                yield FieldError(member_path(path, name), expected_of(encode), "no such member")
        for name in row:
            if name not in self._names:
                yield FieldError(
                    member_path(path, name), f"only the features {', '.join(self._names)}", "an unknown feature"
                )


def _fault_of(encode: _Encode, value: Any, path: str) -> Iterator[FieldError]:
    try:
        encode(value)
    except InvalidValueError as unfit:
        yield FieldError.of(path, str(unfit), value)


def expected_of(encode: _Encode) -> str:
    """Return in words what a feature's closure takes."""
    try:
        encode(_NOTHING)
    except InvalidValueError as unfit:
        return str(unfit)
    raise AssertionError("a feature accepted what is no JSON value")


_NOTHING: Final = object()


def value_encoder(feature: Numeric | Categorical | Boolean) -> _Encode:
    """Return the closure that encodes one value of `feature`, or raises `InvalidValueError`."""
    if feature.kind == "numeric":
        return _numeric(feature)
    if feature.kind == "categorical":
        return _categorical(feature)
    return _boolean(feature)


def bounds_of(feature: Numeric) -> tuple[float, float]:
    """Return the least and the largest number that fits."""
    if feature.out_of_range == "ignore":
        return -MAX_FLOAT32, MAX_FLOAT32
    # Beyond the largest single-precision number lies infinity, which no estimator was trained on.
    return max(feature.minimum, -MAX_FLOAT32), min(feature.maximum, MAX_FLOAT32)


def _numeric(feature: Numeric) -> _Encode:
    missing = feature.nullable
    low, high = bounds_of(feature)
    range_told = "" if feature.out_of_range == "ignore" else f" from {feature.minimum:g} to {feature.maximum:g}"
    expected = f"a number{range_told} ({feature.unit})"
    expected += ", or null" if missing else ""

    def encode(value: Any) -> float:
        kind = type(value)
        if (kind is float or kind is int) and low <= value <= high:  # NaN compares false
            return float(value)
        if value is None and missing:
            return MISSING
        raise InvalidValueError(expected)

    return encode


def _categorical(feature: Categorical) -> _Encode:
    codes = {category: float(code) for code, category in enumerate(feature.categories)}
    missing, accepts_unknown = feature.nullable, feature.handle_unknown == "ignore"
    expected = "a string" if accepts_unknown else _one_of(feature.categories)
    expected += ", or null" if missing else ""

    def encode(value: Any) -> float:
        if type(value) is str:
            code = codes.get(value)
            if code is not None:
                return code
            if accepts_unknown:
                return NO_CATEGORY
        if value is None and missing:
            return NO_CATEGORY
        raise InvalidValueError(expected)

    return encode


def _one_of(categories: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{category}"' for category in categories[:_LISTED])
    more = f", ... ({len(categories)} in all)" if len(categories) > _LISTED else ""
    return f"one of {listed}{more}"


def _boolean(feature: Boolean) -> _Encode:
    missing = feature.nullable
    expected = "true or false" + (", or null" if missing else "")

    def encode(value: Any) -> float:
        if value is True:
            return 1.0
        if value is False:
            return 0.0
        if value is None and missing:
            return MISSING
        raise InvalidValueError(expected)

    return encode
