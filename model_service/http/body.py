"""Reads and parses request bodies. Valid bodies take a fast way; invalid ones are analysed for all their errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

import msgspec
from werkzeug.exceptions import BadRequest

from include.inference import MAX_FIELD_ERRORS, FieldError, RowEncoder
from include.inference.field_errors import member_path, rows_rejected
from model_service.http.errors import IncompleteBodyError, MalformedBodyError, PayloadTooLargeError
from model_service.http.json_structure import (
    COUNTED_BYTES,
    MAX_MEMBERS,
    PIECE_BYTES,
    SMALL_BYTES,
    Structure,
    bound_structure,
    check_digits,
    count_members,
    read_structure,
)

ROOT: Final = "$.features"
MIN_ROWS: Final = 64  # of a large body that is decoded row by row
MAX_LENGTH_DIGITS: Final = 20  # of a Content-Length
MAX_ANALYSED_BYTES: Final = 1024 * 1024  # of a body with numbers beyond double precision: then only the first is named
# What Python's parser accepts and msgspec does not.
_LENIENT: Final = (b"NaN", b"Infinity", b"\\u")
_EXPECTED = 'an object with the one member "features"'
_decode = msgspec.json.Decoder().decode


class _Rows(msgspec.Struct):
    """The document of a prediction for many rows, none of which is parsed yet."""

    features: list[msgspec.Raw]


_decode_rows = msgspec.json.Decoder(_Rows).decode


def read_body(environ: dict[str, Any], limit: int, setting: str = "SLUICE_SERVICE_MAX_BYTES") -> bytes:
    """Return the body, which may have at most `limit` bytes; `setting` is the name of the limit.

    A body with a length is complete, or it is refused. One in chunks whose client ends the connection is cut off
    where the connection ended: granian does not report it. Every format that the service reads has an end of its own
    (JSON, the declared sizes of tensors, gzip), so a body of which anything is missing is refused when it is parsed.

    Raises
    ------
    PayloadTooLargeError
        If the body is larger; no more than `limit` bytes are read.
    IncompleteBodyError
        If the connection ended before the end of the body.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared:
        if not (declared.isascii() and declared.isdigit() and len(declared) < MAX_LENGTH_DIGITS):
            raise BadRequest("Content-Length must be a number of bytes.")
        size = int(declared)
        if size > limit:
            raise PayloadTooLargeError("bytes", limit, setting)
        body: bytes = environ["wsgi.input"].read(size)
        if len(body) != size:
            raise IncompleteBodyError(len(body), size)
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""
    body = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise PayloadTooLargeError("bytes", limit, setting)
    return body


def parse_json(body: bytes, structure: Structure | None = None) -> Any:
    """Return the JSON document of a body that should have one member.

    Parameters
    ----------
    body : bytes
    structure : Structure, optional
        What `check_depth` returned for the body.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If a member is repeated.
    """
    if len(body) > SMALL_BYTES:
        if (members := count_members(body, MAX_MEMBERS, structure)) > MAX_MEMBERS:
            raise rows_rejected([FieldError("$", f"at most {MAX_MEMBERS} members", f"{members} or more")])
        check_digits(body)
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        document, repeated = _parse_leniently(body, error)
        if repeated:
            raise rows_rejected(_repeated_members(document)) from None
        return document
    return document if count_members(body, 1, structure) == 1 else _parse_strictly(body)


def parse_features(
    body: bytes, max_rows: int, encoder: RowEncoder | None = None, structure: Structure | None = None
) -> tuple[Any, bool]:
    """Return the value of ``features``, and whether it is a list of rows rather than one row.

    Parameters
    ----------
    body : bytes
    max_rows : int
    encoder : RowEncoder, optional
        The values are checked later, by it. Only if there is another error, it checks them here, so that all errors are
        reported together.
    structure : Structure, optional
        What `check_depth` returned for the body.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If the JSON has a different structure, or a member is repeated.
    PayloadTooLargeError
        If there are more than `max_rows` rows.
    """
    width = encoder.width if encoder else MAX_MEMBERS
    if structure or len(body) > SMALL_BYTES:
        structure = _check_size(body, structure, width)
        check_digits(body)
    try:
        by_row = len(body) > PIECE_BYTES and structure and structure.openings > MIN_ROWS
        document = _decode_row_by_row(body) if by_row else _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        document, _ = _parse_leniently(body, error)
    if not isinstance(document, dict) or "features" not in document:
        raise rows_rejected(_structure_faults(document))
    features = document["features"]
    many = isinstance(features, list) and bool(features) and isinstance(features[0], list | dict)
    if many and len(features) > max_rows:
        raise PayloadTooLargeError("rows", max_rows, "SLUICE_SERVICE_MAX_ROWS")
    members = 1 + _members(features, many=many)
    # Every member has a colon: if there are as many colons as members, none is repeated.
    if len(document) != 1 or count_members(body, members, structure) != members:
        document, repeated = _parse_python(body)
        if repeated or len(document) != 1:
            found = chain(_structure_faults(document), _repeated_members(document) if repeated else ())
            in_values = encoder.find_errors(document["features"], many=many) if encoder else ()
            raise rows_rejected(chain(found, in_values))
    return features, many


def _decode_row_by_row(body: bytes) -> Any:
    """Decode a large body; between two rows other threads may run, which wait while msgspec decodes.

    Members beside ``features`` are left out. Whoever counts the members finds that some are missing.
    """
    try:
        return {"features": [_decode(row) for row in _decode_rows(body).features]}
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _decode(body)  # no list of rows, or an error, which has its place in the whole body


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
    """Refuse JSON in which a member of an object is repeated; its members must be few.

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


class _ObjectHook:
    """Makes the objects of one document, and marks those with repeated members.

    An answer lists `MAX_FIELD_ERRORS` errors at most, so no more objects than that are analysed.
    """

    def __init__(self) -> None:
        self.marked = 0

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) == len(pairs) or self.marked == MAX_FIELD_ERRORS:
            return plain
        self.marked += 1
        marked = _DuplicateKeys(plain)
        counts = Counter([name for name, _ in pairs])
        marked.repeated = list(islice((name for name, count in counts.items() if count > 1), MAX_FIELD_ERRORS))
        return marked


def _check_size(body: bytes, structure: Structure | None, width: int) -> Structure | None:
    """Refuse a body with far more members or values than its lists and objects may have, before it is parsed.

    Returns
    -------
    Structure or None
        The structure of the body, if it had to be read.
    """
    if structure is None and len(body) <= COUNTED_BYTES and bound_structure(body).excess(width) is None:
        return None
    structure = structure or read_structure(body, width=width)
    if excess := structure.excess(width):
        what, limit, found = excess
        raise rows_rejected([FieldError("$", f"at most {limit} {what}", f"{found} or more")])
    return structure


def _parse_leniently(body: bytes, error: Exception) -> tuple[Any, bool]:
    """Parse what msgspec refused with `error`, if Python's parser may accept it: NaN, 1e400, half a surrogate pair."""
    if isinstance(error, msgspec.ValidationError) and len(body) > MAX_ANALYSED_BYTES:
        # The one such error without a type is a number beyond double precision; its path is in the message.
        raise rows_rejected([FieldError(str(error).partition("`")[2].rstrip("`"), "a finite number", "a larger one")])
    lenient = isinstance(error, msgspec.ValidationError) or any(each in body for each in _LENIENT)
    if isinstance(error, msgspec.DecodeError) and not lenient:
        raise MalformedBodyError(str(error).removeprefix("JSON is malformed: ")) from None
    return _parse_python(body)


def _parse_python(body: bytes) -> tuple[Any, bool]:
    """Parse with Python's parser, which reports what msgspec ignores: repeated members and NaN.

    It takes many times as long, so the number of members must be limited before.

    Returns
    -------
    document : object
    repeated : bool
        Whether a member of an object is repeated.
    """
    hook = _ObjectHook()
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=hook)
    except RecursionError:
        raise MalformedBodyError("it is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise MalformedBodyError(str(error)) from None
    return document, hook.marked > 0


def _parse_strictly(body: bytes) -> Any:
    document, repeated = _parse_python(body)
    if repeated:
        raise rows_rejected(_repeated_members(document))
    return document


# The way to a value: the way to the object or list that holds it, and the name or position in it.
_Way = tuple["_Way | None", str | int]


def _repeated_members(document: Any) -> Iterator[FieldError]:
    """Yield an error for each repeated member, in the order of the document."""
    waiting: list[tuple[_Way | None, Any]] = [(None, document)]
    while waiting:
        way, value = waiting.pop()
        if isinstance(value, _DuplicateKeys):
            path = _path(way)
            for name in value.repeated:
                yield FieldError(member_path(path, name), "each member once", "a repeated member")
        inner: Any = value.items() if isinstance(value, dict) else enumerate(value)
        within = [((way, name), each) for name, each in inner if isinstance(each, dict | list)]
        waiting += reversed(within)


def _path(way: _Way | None) -> str:
    names: list[str | int] = []
    while way is not None:
        way, name = way
        names.append(name)
    path = "$"
    for name in reversed(names):
        path = f"{path}[{name}]" if isinstance(name, int) else member_path(path, name)
    return path
