"""Scores become the bytes of a binary COPY, and the digest of what they say, without a loop over rows.

Rows whose texts have the same lengths have the same layout, so they are one numpy structured array;
a batch has few such groups. The order of the rows within a batch changes, which nothing depends on.

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
from include.scoring.row_digests import NOTHING, Sums, combine_sums, digest_of_words
from include.scoring.rows import ScoredBatch

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = int((_FIRST_MOMENT - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
_WORD = 8


class CopyWriter:
    """Makes the bytes for ``COPY (key[, event_time], <answers>[, predicted_label]...) FROM STDIN (FORMAT binary)``.

    Parameters
    ----------
    labels : sequence of str
        The classes, in the order of the score columns; empty for a regression.
    constants : sequence of int
        What all rows say beside their own content, such as the version; it enters the digest.
    timed : bool
        Whether the event times are written; they enter the digest in any case.
    written : sequence of bytes
        Values of further columns that are the same in all rows, each as `encode_timestamptz` and `encode_int4` make them.
    """

    def __init__(
        self, labels: Sequence[str], constants: Sequence[int], *, timed: bool = True, written: Sequence[bytes] = ()
    ) -> None:
        self._labels = [label.encode() for label in labels]
        self._constants = [value % (1 << 64) for value in constants]
        self._timed = timed
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
        keys = batch.keys.take(positions)
        times, scores = batch.times[order], batch.scores[order]
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1)).tolist()
        for first, end in zip(starts, [*starts[1:], batch.rows], strict=True):
            length, label = divmod(int(codes[order[first]]), kinds)
            content = _texts(keys, first, end, length) if text else numpy_values(keys[first:end], np.int64)
            yield self._group(content, times[first:end], scores[first:end], label)

    def _group(
        self, keys: NDArray[Any], times: NDArray[np.int64], scores: NDArray[np.float64], label: int
    ) -> tuple[bytes, Sums]:
        """Return the bytes and the digest of rows of one layout; `keys` are int64, or uint8 of shape (n, length)."""
        text = keys.dtype == np.uint8
        width = keys.shape[1] if text else _WORD
        named = self._labels[label : label + 1]
        count = 1 + self._timed + scores.shape[1] + len(named) + self._written_fields
        fields: list[tuple[Any, ...]] = [("fields", ">i2"), ("key_length", ">i4")]
        fields += [("key", "u1", (width,)) if text else ("key", ">i8")]
        fields += [("time_length", ">i4"), ("time", ">i8")] if self._timed else []
        for position in range(scores.shape[1]):
            fields += [(f"length_{position}", ">i4"), (f"score_{position}", ">f8")]
        fields += [field for each in named for field in (("label_length", ">i4"), ("label", f"S{len(each)}"))]
        fields += [("written", f"V{len(self._written)}")] if self._written else []
        rows = np.empty(len(times), dtype=fields)
        rows["fields"], rows["key_length"], rows["key"] = count, width, keys
        if self._timed:
            rows["time_length"], rows["time"] = _WORD, times - _EPOCH
        for position in range(scores.shape[1]):
            rows[f"length_{position}"], rows[f"score_{position}"] = _WORD, scores[:, position]
        for each in named:
            rows["label_length"], rows["label"] = len(each), each
        if self._written:
            rows["written"] = np.void(self._written)
        return rows.tobytes(), self._digest(keys, times, scores)

    def _digest(self, keys: NDArray[Any], times: NDArray[np.int64], scores: NDArray[np.float64]) -> Sums:
        count = len(times)
        fixed = [np.full(1, value, dtype=np.uint64) for value in (*self._constants, keys[0].nbytes)]
        words = [np.broadcast_to(word, count) for word in fixed]
        words += [times.view(np.uint64), *np.ascontiguousarray(scores.T).view(np.uint64), *_words(keys)]
        return digest_of_words(words)


def encode_timestamptz(at: datetime) -> bytes:
    """Return a ``timestamptz`` as a binary COPY has it."""
    return struct.pack("!q", (at - _FIRST_MOMENT) // timedelta(microseconds=1))


def encode_int4(value: int) -> bytes:
    """Return an ``integer`` as a binary COPY has it."""
    return struct.pack("!i", value)


def _lengths(keys: pa.Array) -> NDArray[np.int64]:
    offsets = np.frombuffer(keys.buffers()[1], dtype=np.int32)[keys.offset : keys.offset + len(keys) + 1]
    return np.diff(offsets).astype(np.int64)


def _texts(keys: pa.Array, first: int, end: int, length: int) -> NDArray[np.uint8]:
    """Return the bytes of texts that lie one after the other and are all of one length."""
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
