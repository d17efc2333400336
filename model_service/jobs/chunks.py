"""Splits the body of a large request into chunks, which are stored and processed one at a time."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.errors import RowsRejectedError
from include.inference import FieldError, RowEncoder
from model_service.http.body import parse_features
from model_service.http.errors import PayloadTooLargeError
from model_service.http.json import encode
from model_service.http.responses import to_predictions
from model_service.jobs.repository import JobChunk
from model_service.models.registry import LoadedModel

# Small, so that other requests wait only briefly; large enough to be worth a transaction.
CHUNK_ROWS: Final = 500
_FIRST_ROW: Final = re.compile(r"\$\.features\[(\d+)\]")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    features: msgspec.Raw


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_chunks(body: bytes, max_rows: int, encoder: RowEncoder | None = None) -> list[JobChunk]:
    """Split the body of a prediction request into chunks, without decoding its values.

    Raises
    ------
    MalformedBodyError, RowsRejectedError, PayloadTooLargeError
        As `parse_features` does. The values themselves are not checked yet.
    """
    rows = _rows_of(body, max_rows, encoder)
    if rows is None:
        return [JobChunk(0, 1, body)]
    if len(rows) > max_rows:
        raise PayloadTooLargeError("rows", max_rows, "SLUICE_SERVICE_JOB_MAX_ROWS")
    chunks = []
    for first in range(0, len(rows), CHUNK_ROWS):
        some = rows[first : first + CHUNK_ROWS]
        chunks.append(JobChunk(first, len(some), b'{"features":[' + b",".join(some) + b"]}"))
    return chunks


def _rows_of(body: bytes, max_rows: int, encoder: RowEncoder | None) -> list[bytes] | None:
    """Return the JSON of each row, or None if the body has a single row."""
    try:
        features = _decode_body(body).features
        rows = [bytes(row).strip() for row in _decode_rows(features)] if bytes(features).lstrip()[:1] == b"[" else []
    except (msgspec.DecodeError, RecursionError, ValueError):
        rows = []
    many = bool(rows) and rows[0][:1] in (b"[", b"{")
    # All members but "features" belong to rows. If the number of colons matches, "features" is not repeated.
    if not many or body.count(b":") != 1 + sum(row.count(b":") for row in rows):
        parse_features(body, max_rows, encoder)  # a single row, or an error, which this raises
    return rows if many else None


def validate_chunk(loaded: LoadedModel, chunk: JobChunk) -> None:
    """Check that the rows of a chunk match the model.

    Raises
    ------
    RowsRejectedError
        With paths that refer to the whole body.
    """
    _matrix_of(loaded, chunk)


def predict_chunk(loaded: LoadedModel, chunk: JobChunk) -> bytes:
    """Return the predictions of a chunk as a JSON list.

    Raises
    ------
    RowsRejectedError
        With paths that refer to the whole body.
    """
    matrix = _matrix_of(loaded, chunk)
    try:
        scores = loaded.scorer.score(matrix)
    except RowsRejectedError as error:
        raise _in_whole_body(error, chunk) from None
    return encode(to_predictions(loaded.classes, scores, loaded.scorer.labels(scores)))


def _matrix_of(loaded: LoadedModel, chunk: JobChunk) -> NDArray[np.float32]:
    try:
        features, many = parse_features(chunk.body, CHUNK_ROWS, loaded.encoder)
        return loaded.encoder.encode(features) if many else loaded.encoder.encode_one(features)
    except RowsRejectedError as error:
        raise _in_whole_body(error, chunk) from None


def _in_whole_body(error: RowsRejectedError, chunk: JobChunk) -> RowsRejectedError:
    def shift(fault: object) -> object:
        if not isinstance(fault, FieldError):
            return fault
        path = _FIRST_ROW.sub(lambda found: f"$.features[{int(found[1]) + chunk.first_row}]", fault.path, count=1)
        return dataclasses.replace(fault, path=path)

    return RowsRejectedError([shift(fault) for fault in error.faults]) if chunk.first_row else error
