"""The bytes of a request become rows. Fast when they are right, thorough when they are not."""

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
_WANTED = 'an object with the one member "features"'
_decode = msgspec.json.Decoder().decode


def read_body(environ: dict[str, Any], limit: int, setting: str = "SLUICE_SERVICE_MAX_BYTES") -> bytes:
    """Return the body, of at most `limit` bytes, which `setting` holds.

    Raises
    ------
    PayloadTooLargeError
        Before more than `limit` bytes were read.
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
    """Return the JSON document of a body that is to have one member.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If a member is written more than once.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _decode_thoroughly(body)
    return document if body.count(b":") == 1 else _decode_thoroughly(body)


def parse_features(body: bytes, most_rows: int, encoder: RowEncoder | None = None) -> tuple[Any, bool]:
    """Return what ``features`` holds, and whether that is many rows rather than one.

    What the values themselves are is left to the `encoder`, unless there is something wrong already: then it is asked
    what is wrong with them, too, so that all faults are told at once.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If it is JSON of another shape, or names a member twice.
    PayloadTooLargeError
        If there are more than `most_rows` rows.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        document = _document_of(body)
    if not isinstance(document, dict) or "features" not in document:
        raise rows_rejected(_faults_of_shape(document))
    features = document["features"]
    many = isinstance(features, list) and bool(features) and isinstance(features[0], list | dict)
    if many and len(features) > most_rows:
        raise PayloadTooLargeError("rows", most_rows, "SLUICE_SERVICE_MAX_ROWS")
    # Every member is written with a colon. As many colons as members: no name was written twice.
    if len(document) != 1 or body.count(b":") != 1 + _members(features, many=many):
        document = _document_of(body)
        found = [*_faults_of_shape(document), *_faults_of_names("$", document)]
        if found:
            wrong = encoder.find_errors(document["features"], many=many) if encoder else ()
            raise rows_rejected(chain(found, wrong))
    return features, many


def _members(features: Any, *, many: bool) -> int:
    rows = features if many else (features,)
    return sum(len(row) for row in rows if type(row) is dict)


def _faults_of_shape(document: Any) -> Iterator[FieldError]:
    if not isinstance(document, dict):
        yield FieldError.of("$", _WANTED, document)
        return
    if "features" not in document:
        yield FieldError(ROOT, "a list of values, an object of features by name, or a list of either", "no such member")
    for name in list(document)[:MAX_FIELD_ERRORS]:
        if name != "features":
            yield FieldError(member_path("$", name), _WANTED, "an unknown member")


def check_duplicate_keys(body: bytes) -> None:
    """Refuse JSON that names a member of an object twice.

    Raises
    ------
    MalformedBodyError
        If it is not JSON.
    RowsRejectedError
        Naming the members.
    """
    _decode_thoroughly(body)


class _DuplicateKeys(dict[str, Any]):
    """An object in which some names were written twice."""

    doubled: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    names = [name for name, _ in pairs]
    marked = _DuplicateKeys(plain)
    marked.doubled = sorted({name for name in names if names.count(name) > 1})
    return marked


def _document_of(body: bytes) -> Any:
    """Decode with Python's parser, which knows what msgspec forgets: doubled names, and where NaN stood."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise MalformedBodyError("it is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise MalformedBodyError(str(error)) from None


def _decode_thoroughly(body: bytes) -> Any:
    document = _document_of(body)
    faults = list(_faults_of_names("$", document))
    if faults:
        raise rows_rejected(faults)
    return document


def _faults_of_names(path: str, value: Any) -> Iterator[FieldError]:
    if isinstance(value, _DuplicateKeys):
        for name in value.doubled:
            yield FieldError(member_path(path, name), "each member once", "a member written more than once")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _faults_of_names(member_path(path, name), inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _faults_of_names(f"{path}[{position}]", inner)
