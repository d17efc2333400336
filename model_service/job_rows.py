"""The body of a large request becomes parts that are stored, and worked one at a time."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.errors import RowsRejectedError
from include.inference import FieldError
from model_service.answers import encode, predictions_of
from model_service.body import features_of
from model_service.errors import TooLargeError
from model_service.job_store import Part
from model_service.slots import LoadedModel

# Small, so that predictions that are asked for meanwhile wait for little; large enough to be worth a transaction.
PART_ROWS: Final = 500
_FIRST_ROW: Final = re.compile(r"\$\.features\[(\d+)\]")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    features: msgspec.Raw


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def parts_of(body: bytes, most_rows: int) -> list[Part]:
    """Cut the body of a prediction into parts, without making objects of its values.

    Raises
    ------
    MalformedBodyError, RowsRejectedError, TooLargeError
        As `features_of` does; of the values themselves nothing is looked at yet.
    """
    rows = _rows_of(body, most_rows)
    if rows is None:
        return [Part(0, 1, body)]
    if len(rows) > most_rows:
        raise TooLargeError("rows", most_rows, "SLUICE_SERVICE_JOB_MAX_ROWS")
    parts = []
    for first in range(0, len(rows), PART_ROWS):
        some = rows[first : first + PART_ROWS]
        parts.append(Part(first, len(some), b'{"features":[' + b",".join(some) + b"]}"))
    return parts


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
        features_of(body, most_rows)  # a single row, or something wrong, which this names
    return rows if many else None


def check_part(loaded: LoadedModel, part: Part) -> None:
    """Refuse a part whose rows do not fit.

    Raises
    ------
    RowsRejectedError
        With paths as they are in the whole body.
    """
    _matrix_of(loaded, part)


def answers_of(loaded: LoadedModel, part: Part) -> bytes:
    """Return the part's predictions as a JSON list.

    Raises
    ------
    RowsRejectedError
        With paths as they are in the whole body.
    """
    return encode(predictions_of(loaded, loaded.scorer.score(_matrix_of(loaded, part))))


def _matrix_of(loaded: LoadedModel, part: Part) -> NDArray[np.float32]:
    try:
        features, many = features_of(part.body, PART_ROWS, loaded.encoder)
        return loaded.encoder.encode(features) if many else loaded.encoder.encode_one(features)
    except RowsRejectedError as error:
        raise _in_whole_body(error, part) from None


def _in_whole_body(error: RowsRejectedError, part: Part) -> RowsRejectedError:
    def moved(fault: object) -> object:
        if not isinstance(fault, FieldError):
            return fault
        path = _FIRST_ROW.sub(lambda found: f"$.features[{int(found[1]) + part.first_row}]", fault.path, count=1)
        return dataclasses.replace(fault, path=path)

    return RowsRejectedError([moved(fault) for fault in error.faults]) if part.first_row else error
