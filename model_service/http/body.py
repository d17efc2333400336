"""Reads and parses request bodies. Valid bodies take a fast way; invalid ones are analysed for all their errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import msgspec
from werkzeug.exceptions import BadRequest

from include.inference import MAX_FIELD_ERRORS, FieldError, RowEncoder
from include.inference.field_errors import member_path, rows_rejected
from model_service.http.errors import MalformedBodyError, PayloadTooLargeError

ROOT: Final = "$.features"
_EXPECTED = 'an object with the one member "features"'
_decode = msgspec.json.Decoder().decode


def read_body(environ: dict[str, Any], limit: int, setting: str = "SLUICE_SERVICE_MAX_BYTES") -> bytes:
    """Return the body, which may have at most `limit` bytes; `setting` is the name of the limit.

    Raises
    ------
    PayloadTooLargeError
        If the body is larger; no more than `limit` bytes are read.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared:
        if not declared.isdigit():
            raise BadRequest("Content-Length must be a number of bytes.")
        if int(declared) > limit:
            raise PayloadTooLargeError("bytes", limit, setting)
    elif not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = environ["wsgi.input"].read(limit + 1 if not declared else int(declared))
    if len(body) > limit:
        raise PayloadTooLargeError("bytes", limit, setting)
    return body


def parse_json(body: bytes) -> Any:
    """Return the JSON document of a body that should have one member.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If a member is repeated.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _parse_strictly(body)
    return document if body.count(b":") == 1 else _parse_strictly(body)


def parse_features(body: bytes, max_rows: int, encoder: RowEncoder | None = None) -> tuple[Any, bool]:
    """Return the value of ``features``, and whether it is a list of rows rather than one row.

    The values are checked later, by the `encoder`. Only if there is another error, it checks them here, so that all
    errors are reported together.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If the JSON has a different structure, or a member is repeated.
    PayloadTooLargeError
        If there are more than `max_rows` rows.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        document = _parse_python(body)
    if not isinstance(document, dict) or "features" not in document:
        raise rows_rejected(_structure_faults(document))
    features = document["features"]
    many = isinstance(features, list) and bool(features) and isinstance(features[0], list | dict)
    if many and len(features) > max_rows:
        raise PayloadTooLargeError("rows", max_rows, "SLUICE_SERVICE_MAX_ROWS")
    # Every member has a colon: if there are as many colons as members, none is repeated.
    if len(document) != 1 or body.count(b":") != 1 + _members(features, many=many):
        document = _parse_python(body)
        found = [*_structure_faults(document), *_repeated_members("$", document)]
        if found:
            in_values = encoder.find_errors(document["features"], many=many) if encoder else ()
            raise rows_rejected(chain(found, in_values))
    return features, many


def _members(features: Any, *, many: bool) -> int:
    rows = features if many else (features,)
    return sum(len(row) for row in rows if type(row) is dict)


def _structure_faults(document: Any) -> Iterator[FieldError]:
    if not isinstance(document, dict):
        yield FieldError.of("$", _EXPECTED, document)
        return
    if "features" not in document:
        yield FieldError(ROOT, "a list of values, an object of features by name, or a list of either", "no such member")
    for name in list(document)[:MAX_FIELD_ERRORS]:
        if name != "features":
            yield FieldError(member_path("$", name), _EXPECTED, "an unknown member")


def check_duplicate_keys(body: bytes) -> None:
    """Refuse JSON in which a member of an object is repeated.

    Raises
    ------
    MalformedBodyError
        If it is not JSON.
    RowsRejectedError
        With the paths of the members.
    """
    _parse_strictly(body)


class _DuplicateKeys(dict[str, Any]):
    """An object with repeated members."""

    repeated: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    names = [name for name, _ in pairs]
    marked = _DuplicateKeys(plain)
    marked.repeated = sorted({name for name in names if names.count(name) > 1})
    return marked


def _parse_python(body: bytes) -> Any:
    """Parse with Python's parser, which reports what msgspec ignores: repeated members and NaN."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise MalformedBodyError("it is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise MalformedBodyError(str(error)) from None


def _parse_strictly(body: bytes) -> Any:
    document = _parse_python(body)
    faults = list(_repeated_members("$", document))
    if faults:
        raise rows_rejected(faults)
    return document


def _repeated_members(path: str, value: Any) -> Iterator[FieldError]:
    if isinstance(value, _DuplicateKeys):
        for name in value.repeated:
            yield FieldError(member_path(path, name), "each member once", "a repeated member")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _repeated_members(member_path(path, name), inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _repeated_members(f"{path}[{position}]", inner)
