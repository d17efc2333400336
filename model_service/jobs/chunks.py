"""The body of a large request becomes chunks that are stored, and worked one at a time."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.errors import RowsRejectedError
from include.inference import FieldError
from model_service.http.body import parse_features
from model_service.http.errors import PayloadTooLargeError
from model_service.http.responses import encode, to_predictions
from model_service.jobs.repository import JobChunk
from model_service.models.registry import LoadedModel

# Small, so that predictions that are asked for meanwhile wait for little; large enough to be worth a transaction.
CHUNK_ROWS: Final = 500
_FIRST_ROW: Final = re.compile(r"\$\.features\[(\d+)\]")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    features: msgspec.Raw


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_chunks(body: bytes, most_rows: int) -> list[JobChunk]:
    """Cut the body of a prediction into chunks, without making objects of its values.

    Raises
    ------
    MalformedBodyError, RowsRejectedError, PayloadTooLargeError
        As `parse_features` does; of the values themselves nothing is looked at yet.
    """
    rows = _rows_of(body, most_rows)
    if rows is None:
        return [JobChunk(0, 1, body)]
    if len(rows) > most_rows:
        raise PayloadTooLargeError("rows", most_rows, "SLUICE_SERVICE_JOB_MAX_ROWS")
    chunks = []
    for first in range(0, len(rows), CHUNK_ROWS):
        some = rows[first : first + CHUNK_ROWS]
        chunks.append(JobChunk(first, len(some), b'{"features":[' + b",".join(some) + b"]}"))
    return chunks


def _rows_of(body: bytes, most_rows: int) -> list[bytes] | None:
    """Return each row's JSON, or None if the body holds a single row."""
    try:
        features = _decode_body(body).features
        rows = [bytes(row).strip() for row in _decode_rows(features)] if bytes(features).lstrip()[:1] == b"[" else []
    except (msgspec.DecodeError, RecursionError, ValueError):
        rows = []
    many = bool(rows) and rows[0][:1] in (b"[", b"{")
    # Members of rows are written in the rows, and the one other member is "features": no name was written twice.
    if not many or body.count(b":") != 1 + sum(row.count(b":") for row in rows):
        parse_features(body, most_rows)  # a single row, or something wrong, which this names
    return rows if many else None


def validate_chunk(loaded: LoadedModel, chunk: JobChunk) -> None:
    """Refuse a chunk whose rows do not fit.

    Raises
    ------
    RowsRejectedError
        With paths as they are in the whole body.
    """
    _matrix_of(loaded, chunk)


def predict_chunk(loaded: LoadedModel, chunk: JobChunk) -> bytes:
    """Return the chunk's predictions as a JSON list.

    Raises
    ------
    RowsRejectedError
        With paths as they are in the whole body.
    """
    return encode(to_predictions(loaded, loaded.scorer.score(_matrix_of(loaded, chunk))))


def _matrix_of(loaded: LoadedModel, chunk: JobChunk) -> NDArray[np.float32]:
    try:
        features, many = parse_features(chunk.body, CHUNK_ROWS, loaded.encoder)
        return loaded.encoder.encode(features) if many else loaded.encoder.encode_one(features)
    except RowsRejectedError as error:
        raise _in_whole_body(error, chunk) from None


def _in_whole_body(error: RowsRejectedError, chunk: JobChunk) -> RowsRejectedError:
    def moved(fault: object) -> object:
        if not isinstance(fault, FieldError):
            return fault
        path = _FIRST_ROW.sub(lambda found: f"$.features[{int(found[1]) + chunk.first_row}]", fault.path, count=1)
        return dataclasses.replace(fault, path=path)

    return RowsRejectedError([moved(fault) for fault in error.faults]) if chunk.first_row else error
