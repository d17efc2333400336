"""Reads tensors in both formats, JSON and binary, into columns: arrays, or lists where no array type fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.inference import (
    LENGTH_PREFIX,
    PADDING,
    Column,
    DictionaryCodec,
    FixedWidthStrings,
    OffsetStrings,
    length_prefixed,
)
from include.inference.tensor_types import BYTES, NUMPY_TYPES
from model_service.oip.head import INFINITY

DATATYPES: Final = (*NUMPY_TYPES, BYTES)

_LISTS: Final[dict[str, Any]] = {
    "b": list[bool | None],
    "u": list[int | None],
    "i": list[int | None],
    "f": list[float | None],
}
_FLAT: Final = {name: _LISTS[dtype.kind] for name, dtype in NUMPY_TYPES.items()} | {BYTES: list[str | None]}
_DECODERS: Final = {name: msgspec.json.Decoder(flat) for name, flat in _FLAT.items()}
_JSON_ERRORS: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
MAX_MARKED: Final = 8
_EXPONENT: Final = re.compile(rb"-?[0-9.]{1,20}[eE]\+?[0-9]{3,}")


class InvalidTensorError(Exception):
    """The data of a tensor do not match its datatype and shape; the message tells how."""


def from_json(data: msgspec.Raw, datatype: str, shape: Sequence[int]) -> Column:
    """Return the elements of a JSON tensor, flat or nested as its shape, in row-major order.

    Null is missing: NaN in an array of floats; integers with a null become floats.
    """
    try:
        values: list[Any] = _DECODERS[datatype].decode(data)
    except msgspec.ValidationError as error:
        _refuse_too_large(error, data)
        values = _nested(data, datatype, shape)
    except _JSON_ERRORS as error:
        raise InvalidTensorError(f"its data are not JSON: {error}") from None
    if len(values) != prod(shape):
        raise InvalidTensorError(f"shape {list(shape)} has {prod(shape)} elements; found {len(values)}")
    if datatype == BYTES:
        return values
    dtype = NUMPY_TYPES[datatype]
    if dtype.kind != "f" and None in values:
        return values if dtype.kind == "b" else np.array(values, dtype=np.float64)
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinity, which no feature accepts
            return np.array(values, dtype=dtype)
    except OverflowError:
        raise InvalidTensorError(f"an element is beyond {datatype}") from None


def _refuse_too_large(error: Exception, data: msgspec.Raw) -> None:
    """Raise an error that names the number, if `error` is about one beyond double precision."""
    if not str(error).startswith("Number out of range"):
        return
    place = str(error).partition("`$")[2].rstrip("`")
    found = _EXPONENT.search(bytes(data))
    literal = found[0][:30].decode() if found else ""
    shown = "Infinity" if INFINITY.decode() in literal else f"a number beyond double precision, such as {literal}"
    raise InvalidTensorError(f"expected finite numbers; found {shown} at data{place}")


def _nested(data: msgspec.Raw, datatype: str, shape: Sequence[int]) -> list[Any]:
    try:
        level = [msgspec.json.decode(data)]
    except msgspec.ValidationError as error:
        _refuse_too_large(error, data)
        raise InvalidTensorError(f"its data are not {datatype}: {error}") from None
    except _JSON_ERRORS as error:  # `data` was skipped when the head was decoded, and is checked here
        raise InvalidTensorError(f"its data are not JSON: {error}") from None
    for size in shape:
        if any(type(each) is not list or len(each) != size for each in level):
            raise InvalidTensorError(
                f"its data must be {datatype} in a list, flat or nested as shape {list(shape)} says"
            )
        level = list(chain.from_iterable(level))
    try:
        values: list[Any] = msgspec.convert(level, _FLAT[datatype])
    except msgspec.ValidationError as error:
        raise InvalidTensorError(f"its data are not {datatype}: {error}") from None
    return values


def from_binary(data: memoryview, datatype: str, elements: int, codec: DictionaryCodec | None = None) -> Column:
    """Return the elements of a binary tensor; `codec` reads those of a feature with few categories."""
    if datatype == BYTES:
        return _strings(data, elements, codec)
    dtype = NUMPY_TYPES[datatype]
    if len(data) != elements * dtype.itemsize:
        raise InvalidTensorError(
            f"{elements} element(s) of {datatype} take {elements * dtype.itemsize} bytes; found {len(data)}"
        )
    if datatype == "BOOL":
        octets = np.frombuffer(data, dtype=np.uint8)
        if elements and octets.max() > 1:
            raise InvalidTensorError("an element of BOOL is a byte of 0 or 1")
    return np.frombuffer(data, dtype=dtype)


def _strings(data: memoryview, elements: int, codec: DictionaryCodec | None) -> Column:
    """Return strings, each preceded by its length in 4 bytes."""
    octets = b"".join((data, PADDING))
    size = len(data)
    found: Column | None = _uniform(octets, size, elements)
    if found is None and codec is not None:
        found = codec.read(octets[:size], elements)
    if found is None:
        found = _by_zeros(octets, size, elements)
    return _one_by_one(octets, size, elements) if found is None else found


def _uniform(octets: bytes, size: int, elements: int) -> FixedWidthStrings | None:
    """Return strings of equal length, without reading each; None if the lengths differ."""
    if not elements or size < 4:
        return None
    width = LENGTH_PREFIX.unpack_from(octets)[0]
    if size != elements * (4 + width):
        return None
    lengths: NDArray[np.uint32] = np.ndarray((elements,), "<u4", octets, 0, (4 + width,))
    if np.count_nonzero(lengths == width) != elements:  # in C; `all` is slower
        return None
    return FixedWidthStrings(octets, elements, width)


def _by_zeros(octets: bytes, size: int, elements: int) -> OffsetStrings | None:
    """Return strings shorter than 256 bytes and without a zero byte, located by the zeros in their lengths.

    Each length is then one byte followed by three zeros. So a run of three zeros belongs to one length, whose first
    byte precedes it, and a run of four, eight, ... zeros to as many empty strings. The result is verified: each string
    must end where the next length begins.
    """
    if not elements or size < 4:
        return None
    values = np.frombuffer(octets, dtype=np.uint8, count=size)
    zero = np.zeros(size + 2, dtype=np.bool_)
    np.equal(values, 0, out=zero[1:-1])
    edges = np.flatnonzero(zero[1:] != zero[:-1])
    begins, runs = edges[::2], edges[1::2] - edges[::2]
    one = runs == 3
    counts = np.where(one, 1, runs >> 2)
    if counts.sum() != elements or (runs[~one] & 3).any():
        return None
    firsts = np.cumsum(counts) - counts
    heads = np.repeat(begins - one - 4 * firsts, counts) + 4 * np.arange(elements)
    if heads[0] != 0:
        return None
    starts, sizes = heads + 4, values[heads].astype(np.int64)
    ends = starts + sizes
    return OffsetStrings(octets, starts, sizes) if ends[-1] == size and (ends[:-1] == heads[1:]).all() else None


def _one_by_one(octets: bytes, size: int, elements: int) -> Column:
    found: list[bytes] = []
    at = 0
    length_at, add = LENGTH_PREFIX.unpack_from, found.append
    for _ in range(elements):
        if at + 4 > size:
            break
        start = at + 4
        at = start + length_at(octets, at)[0]
        add(octets[start:at])
    if at != size or len(found) != elements:
        raise InvalidTensorError(f"{size} bytes are not {elements} string(s), each after its length in 4 bytes")
    return found


class StringTensorWriter:
    """Writes columns of labels as BYTES tensors.

    Parameters
    ----------
    labels : sequence of str
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = [length_prefixed(label.encode()) for label in labels]
        used = set(b"".join(self._labels))
        marks = [octet for octet in range(256) if octet not in used][: len(labels)]
        # Each label is first written as a byte that occurs in none of them, and then replaced by a search in C.
        self._marks = np.array(marks, dtype=np.uint8) if len(marks) == len(labels) <= MAX_MARKED else None

    def write(self, positions: NDArray[np.int64]) -> bytes:
        """Return for each position its label, preceded by its length."""
        if self._marks is None:
            return b"".join([self._labels[position] for position in positions.tolist()])
        written = self._marks[positions].tobytes()
        for mark, label in zip(self._marks.tolist(), self._labels, strict=True):
            written = written.replace(bytes((mark,)), label)
        return written
