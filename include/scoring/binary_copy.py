"""Encodes scores as a binary COPY, and computes their digest, without a loop over rows.

Rows whose texts have the same lengths have the same layout and become one numpy structured array; a batch has few such
groups. This changes the order of the rows within a batch, which does not matter.

Sources
-------
The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.inference.batch import numpy_values
from include.score_table import ScoreColumn, columns_of
from include.scoring.row_digests import NOTHING, Sums, combine_sums, digest_of_words
from include.scoring.rows import ScoredBatch

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = int((_FIRST_MOMENT - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
_WORD = 8


_ENCODINGS: dict[str, tuple[str, int]] = {
    "double precision": (">f8", 0),
    "integer": (">i4", 0),
    "bigint": (">i8", 0),
    "timestamptz": (">i8", -_EPOCH),
}
"""By SQL type: the type of the bytes, and what is added to a value, which has microseconds since 1970 for a time."""


class CopyWriter:
    """Makes the bytes for ``COPY (<columns>) FROM STDIN (FORMAT binary)``.

    Parameters
    ----------
    labels : sequence of str
        The classes, in the order of the score columns; empty for a regression.
    constants : sequence of int
        Values that are the same in all rows, such as the version; they are part of the digest.
    columns : sequence of ScoreColumn, optional
        The columns that are sent, in this order; by default each column of a score table that differs by row.
    written : sequence of bytes
        Values of further columns that are the same in all rows, made by `encode_timestamptz` or `encode_int4`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        constants: Sequence[int],
        *,
        columns: Sequence[ScoreColumn] | None = None,
        written: Sequence[bytes] = (),
    ) -> None:
        self._labels = [label.encode() for label in labels]
        self._constants = [value % (1 << 64) for value in constants]
        self._columns = columns or [column for column in columns_of(labels) if column.rows is not None]
        self._written = b"".join(struct.pack("!i", len(value)) + value for value in written)
        self._written_fields = len(written)

    def block(self, batch: ScoredBatch) -> tuple[bytes, Sums]:
        """Return the bytes of the batch's rows, without header and trailer, and their digest."""
        parts = list(self._groups(batch))
        return b"".join(part for part, _ in parts), combine_sums((NOTHING, *(sums for _, sums in parts)))

    def _groups(self, batch: ScoredBatch) -> Iterator[tuple[bytes, Sums]]:
        if not batch.rows:
            return
        text = pa.types.is_string(batch.keys.type)
        lengths = _lengths(batch.keys) if text else np.full(batch.rows, _WORD, dtype=np.int64)
        kinds = max(len(self._labels), 1)
        codes = lengths * kinds + (0 if batch.labels is None else batch.labels)
        order = np.argsort(codes, kind="stable")
        positions = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])
        labels = None if batch.labels is None else batch.labels[order]
        ordered = ScoredBatch(batch.keys.take(positions), batch.times[order], batch.scores[order], labels)
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1)).tolist()
        for first, end in zip(starts, [*starts[1:], batch.rows], strict=True):
            length, label = divmod(int(codes[order[first]]), kinds)
            part = slice(first, end)
            keys = ordered.keys
            content = _texts(keys, first, end, length) if text else numpy_values(keys[first:end], np.int64)
            rows = ScoredBatch(
                keys[first:end], ordered.times[part], ordered.scores[part], None if labels is None else labels[part]
            )
            yield self._group(content, rows, label)

    def _group(self, keys: NDArray[Any], batch: ScoredBatch, label: int) -> tuple[bytes, Sums]:
        """Return the bytes and the digest of rows of one layout; `keys` are int64, or uint8 of shape (n, length)."""
        fields: list[tuple[Any, ...]] = [("fields", ">i2")]
        values: dict[str, Any] = {"fields": len(self._columns) + self._written_fields}
        for position, column in enumerate(self._columns):
            kind, width, value = self._field(column, keys, batch, label)
            fields += [(f"length_{position}", ">i4"), (f"value_{position}", *kind)]
            values |= {f"length_{position}": width, f"value_{position}": value}
        if self._written:
            fields.append(("written", f"V{len(self._written)}"))
            values["written"] = np.void(self._written)
        rows = np.empty(len(batch.times), dtype=fields)
        for name, value in values.items():
            rows[name] = value
        return rows.tobytes(), self._digest(keys, batch.times, batch.scores)

    def _field(
        self, column: ScoreColumn, keys: NDArray[Any], batch: ScoredBatch, label: int
    ) -> tuple[tuple[Any, ...], int, Any]:
        """Return the numpy type of a column's bytes, their number in a row, and the values."""
        if column.rows == "key":
            text = keys.dtype == np.uint8
            return ("u1", (keys.shape[1],)) if text else (">i8",), keys.shape[1] if text else _WORD, keys
        if column.rows == "label":
            name = self._labels[label]
            return (f"S{len(name)}",), len(name), name
        assert callable(column.rows)  # noqa: S101  # a column whose value is the same in all rows is not sent
        kind, offset = _ENCODINGS[column.sql_type]
        value = column.rows(batch)
        return (kind,), int(kind[-1]), value + offset if offset else value

    def _digest(self, keys: NDArray[Any], times: NDArray[np.int64], scores: NDArray[np.float64]) -> Sums:
        count = len(times)
        fixed = [np.full(1, value, dtype=np.uint64) for value in (*self._constants, keys[0].nbytes)]
        words = [np.broadcast_to(word, count) for word in fixed]
        words += [times.view(np.uint64), *np.ascontiguousarray(scores.T).view(np.uint64), *_words(keys)]
        return digest_of_words(words)


def encode_timestamptz(at: datetime) -> bytes:
    """Return the binary COPY format of a ``timestamptz``."""
    return struct.pack("!q", (at - _FIRST_MOMENT) // timedelta(microseconds=1))


def encode_int4(value: int) -> bytes:
    """Return the binary COPY format of an ``integer``."""
    return struct.pack("!i", value)


def _lengths(keys: pa.Array) -> NDArray[np.int64]:
    offsets = np.frombuffer(keys.buffers()[1], dtype=np.int32)[keys.offset : keys.offset + len(keys) + 1]
    return np.diff(offsets).astype(np.int64)


def _texts(keys: pa.Array, first: int, end: int, length: int) -> NDArray[np.uint8]:
    """Return the bytes of consecutive texts of equal length."""
    if length == 0:
        return np.empty((end - first, 0), dtype=np.uint8)
    start = int(np.frombuffer(keys.buffers()[1], dtype=np.int32)[keys.offset + first])
    flat = np.frombuffer(keys.buffers()[2], dtype=np.uint8, count=(end - first) * length, offset=start)
    return flat.reshape(end - first, length)


def _words(keys: NDArray[Any]) -> list[NDArray[np.uint64]]:
    if keys.dtype != np.uint8:
        return [keys.view(np.uint64)]
    count, length = keys.shape
    padded = np.zeros((count, -(-length // _WORD) * _WORD), dtype=np.uint8)
    padded[:, :length] = keys
    return list(np.ascontiguousarray(padded.view("<u8").T).astype(np.uint64, copy=False))
