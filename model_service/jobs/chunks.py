"""Splits the body of a large request into chunks, which are stored and processed one at a time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.errors import RowsRejectedError
from include.inference import FieldError, RowEncoder
from model_service.http.body import parse_features
from model_service.http.errors import PayloadTooLargeError
from model_service.http.json import encode
from model_service.http.json_structure import MAX_MEMBERS, check_depth
from model_service.http.responses import ClassPrediction, ValuePrediction, to_predictions
from model_service.jobs.repository import JobChunk
from model_service.models.registry import LoadedModel

# Small, so that other requests wait only briefly; large enough to be worth a transaction.
CHUNK_ROWS: Final = 500
# A chunk is parsed at once, so it has no more bytes than twice these, or one row.
CHUNK_BYTES: Final = 1024 * 1024
# A response with a part of the result holds about as many bytes in memory, also while its client reads slowly.
PAGE_BYTES: Final = 1024 * 1024
# No float has more characters in JSON.
_LONGEST_NUMBER: Final = -2.2250738585072014e-308
_FIRST_ROW: Final = re.compile(r"\$\.features\[(\d+)\]")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    features: list[msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode


def max_prediction_bytes(classes: Sequence[str]) -> int:
    """Return the most bytes that the prediction of one row takes in a list of them, for a model with these classes."""
    if not classes:
        return len(encode(ValuePrediction(_LONGEST_NUMBER))) + 1
    probabilities = dict.fromkeys(classes, _LONGEST_NUMBER)
    last = len(classes) - 1
    return max(len(encode(ClassPrediction(label, last, probabilities))) for label in classes) + 1


def chunk_rows(prediction_bytes: int) -> int:
    """Return how many rows a chunk has at most: fewer if the predictions are long, so that a page holds a chunk."""
    return max(1, min(CHUNK_ROWS, PAGE_BYTES // prediction_bytes))


def split_chunks(
    body: bytes,
    max_rows: int,
    encoder: RowEncoder | None = None,
    *,
    rows_per_chunk: int = CHUNK_ROWS,
    max_other_bytes: int | None = None,
    max_depth: int = 64,
) -> list[JobChunk]:
    """Split the body of a prediction request into chunks, without decoding its values.

    Parameters
    ----------
    body : bytes
    max_rows : int
    encoder : RowEncoder, optional
        Names the errors of a body that has errors of structure.
    rows_per_chunk : int
    max_other_bytes : int, optional
        Maximum size of a row, and of a body that is anything but a list of rows: it is parsed as a whole.
    max_depth : int
        Maximum nesting depth.

    Raises
    ------
    MalformedBodyError, RowsRejectedError, PayloadTooLargeError
        As `parse_features` does. The values themselves are not checked yet.
    """
    width = encoder.width if encoder else MAX_MEMBERS
    structure = check_depth(body, max_depth, max_rows, "SLUICE_SERVICE_JOB_MAX_ROWS", width)
    if structure and structure.excess(width):
        parse_features(body, max_rows, encoder, structure)  # it raises
    chunks = _chunks_of(body, max_rows, rows_per_chunk)
    if max_other_bytes is not None:
        if chunks is None and len(body) > max_other_bytes:
            raise _too_large(
                'bytes for a body that is not {"features": [...]} with a list of rows alone', max_other_bytes
            )
        if any(chunk.row_count == 1 and len(chunk.body) > max_other_bytes for chunk in chunks or ()):
            raise _too_large("bytes in one row", max_other_bytes)
    if chunks is None:
        parse_features(body, max_rows, encoder, structure)  # a single row, or an error, which this raises
        return [JobChunk(0, 1, body)]
    return chunks


def _too_large(what: str, limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(what, limit, "SLUICE_SERVICE_MAX_BYTES")


def _chunks_of(body: bytes, max_rows: int, rows_per_chunk: int) -> list[JobChunk] | None:
    """Return the chunks of a body that is a list of rows and nothing else; None for any other."""
    try:
        rows = _decode_body(body).features
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if not rows or bytes(rows[0]).lstrip()[:1] not in (b"[", b"{"):
        return None
    if len(rows) > max_rows:
        raise PayloadTooLargeError("rows", max_rows, "SLUICE_SERVICE_JOB_MAX_ROWS")
    usual = max(1, CHUNK_BYTES * len(rows) // len(body))  # as many rows of mean length as a chunk has room for
    size = min(rows_per_chunk, usual)
    chunks = [chunk for first in range(0, len(rows), size) for chunk in _cut(rows[first : first + size], first)]
    # All members but "features" belong to rows. If the number of colons matches, "features" is not repeated.
    colons = sum(chunk.body.count(b":") - 1 for chunk in chunks)
    return chunks if body.count(b":") == 1 + colons else None


def _cut(rows: list[msgspec.Raw], first: int) -> Iterator[JobChunk]:
    """Yield the rows from position `first` as a chunk, or as several if they are much longer than the mean."""
    body = b'{"features":[' + b",".join(rows) + b"]}"
    if len(rows) == 1 or len(body) <= 2 * CHUNK_BYTES:
        yield JobChunk(first, len(rows), body)
        return
    half = len(rows) // 2
    yield from _cut(rows[:half], first)
    yield from _cut(rows[half:], first + half)


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
