"""Record batches become matrices, by the same rules as `RowEncoder` applies to JSON.

Kept out of the package's ``__init__``: it needs pyarrow, which the service does not have.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.inference.feature_types import feature_type
from include.inference.feature_types.base import EncodeArrow
from include.inference.model_signature import ModelSignature
from include.spec import Feature

Number = TypeVar("Number", bound=np.generic)


def _scalar(value: np.generic, kind: pa.DataType) -> pa.Scalar:
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(value.tobytes())])[0]


# Put together by hand, like all below: `pa.scalar`, `pa.array` and `to_numpy` import pandas, and a task that scores
# has 50 MiB less memory without.
_NO_CODE = _scalar(np.int32(-1), pa.int32())
_NO_NUMBER = _scalar(np.float64(np.nan), pa.float64())


_Encoders = tuple[tuple[str, EncodeArrow], ...]
# By the identity of a signature's features, which are kept here so that it stays theirs.
_ENCODERS: dict[int, tuple[tuple[Feature, ...], _Encoders]] = {}
_MAX_SIGNATURES = 64


def encode_batch(batch: pa.RecordBatch | pa.Table, signature: ModelSignature) -> NDArray[np.float32]:
    """Encode rows that passed their data contract.

    Parameters
    ----------
    batch : pyarrow.RecordBatch or pyarrow.Table
        With a column for each feature of the signature.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_features)
        See `include.spec.Columns` for the encoding.
    """
    matrix = np.empty((batch.num_rows, len(signature.features)), dtype=np.float32)
    for position, (name, encode) in enumerate(_encoders_of(signature.features)):
        matrix[:, position] = encode(batch.column(name))
    return matrix


def _encoders_of(features: tuple[Feature, ...]) -> _Encoders:
    """Return each feature's name and encoder, made once for a signature rather than once for a batch."""
    known = _ENCODERS.get(id(features))
    if known is None:
        if len(_ENCODERS) >= _MAX_SIGNATURES:
            _ENCODERS.clear()
        encoders = tuple((each.name, feature_type(each).arrow_encoder()) for each in features)
        _ENCODERS[id(features)] = known = (features, encoders)
    return known[1]


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """Encode numbers or booleans, with NaN for null; shape (n_samples,)."""
    numbers = pc.cast(column, pa.float64())
    filled = pc.fill_null(numbers, _NO_NUMBER) if numbers.null_count else numbers
    return numpy_values(filled, np.float64).astype(np.float32)


def dictionary_encoder(categories: tuple[str, ...]) -> EncodeArrow:
    """Return what encodes strings as their positions in `categories`, with -1 for any other and for null."""
    dictionary = _dictionary(categories)

    def encode(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
        codes = pc.index_in(column, value_set=dictionary)
        return numpy_values(pc.fill_null(codes, _NO_CODE), np.int32).astype(np.float32)

    return encode


def numpy_values(column: pa.Array | pa.ChunkedArray, kind: type[Number]) -> NDArray[Number]:
    """Return the values of a column without nulls, of the fixed-width type that is NumPy's `kind`."""
    if isinstance(column, pa.ChunkedArray):
        chunks = [numpy_values(chunk, kind) for chunk in column.chunks]
        return np.concatenate(chunks) if chunks else np.empty(0, dtype=kind)
    if not len(column):
        return np.empty(0, dtype=kind)
    offset = column.offset * np.dtype(kind).itemsize
    return np.frombuffer(column.buffers()[1], dtype=kind, count=len(column), offset=offset)


def _dictionary(categories: tuple[str, ...]) -> pa.Array:
    content = [each.encode() for each in categories]
    ends = np.cumsum([0, *map(len, content)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(content))]
    return pa.Array.from_buffers(pa.string(), len(content), buffers)
