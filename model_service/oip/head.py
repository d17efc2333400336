"""The JSON part of an inference request, which precedes the binary tensors."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from model_service.http.body import check_duplicate_keys
from model_service.http.errors import HTTPError, PayloadTooLargeError, TensorsRejectedError
from model_service.http.json_structure import (
    SMALL_BYTES,
    Structure,
    bound_structure,
    check_depth,
    check_digits,
    count_members,
    read_structure,
)

_NO_DATA: Final = msgspec.Raw()
MAX_QUOTES: Final = 100_000  # in a JSON part with NaN or Infinity
INFINITY: Final = b"1e99999"
MAX_HEAD_MEMBERS: Final = 10  # of an object, on average: a tensor has five members, its parameters mostly one


class TensorHead(msgspec.Struct):
    """An input tensor in the JSON part."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = {}
    data: msgspec.Raw = _NO_DATA


class OutputHead(msgspec.Struct):
    """A requested output."""

    name: str
    parameters: dict[str, Any] | None = {}


class RequestHead(msgspec.Struct):
    """The JSON part of a request."""

    inputs: list[TensorHead]
    id: str | None = None
    outputs: list[OutputHead] | None = []
    parameters: dict[str, Any] | None = {}


_decode_head = msgspec.json.Decoder(RequestHead).decode


def head_size(body: bytes, head_bytes: str | None) -> int:
    """Return the number of bytes of JSON: all, or the value of the header ``Inference-Header-Content-Length``."""
    if head_bytes is None:
        return len(body)
    if not (head_bytes.isascii() and head_bytes.isdigit() and len(head_bytes) < 12 and int(head_bytes) <= len(body)):
        raise TensorsRejectedError(
            ["Inference-Header-Content-Length must be the number of bytes of the request's JSON part"]
        )
    return int(head_bytes)


def read_head(text: bytes, max_depth: int, max_objects: int, max_rows: int, width: int) -> RequestHead:
    """Decode the JSON part.

    Parameters
    ----------
    text : bytes
    max_depth, max_objects : int
        Maximum number of levels, and of tensors and other objects.
    max_rows, width : int
        Maximum number of rows, and the number of features: no more values than these have together are parsed.

    Raises
    ------
    MalformedBodyError
        If it is nested too deeply.
    PayloadTooLargeError
        If it has more values.
    TensorsRejectedError
        If it is not a request of the protocol.
    RowsRejectedError
        If a member is repeated.
    """
    structure = check_depth(text, max_depth)
    if structure or len(text) > SMALL_BYTES:
        limits = (max_objects, max_rows, width)
        if structure is None and _excess(bound_structure(text), *limits) is not None:
            structure = read_structure(text)
        if structure is not None and (error := _excess(structure, *limits)) is not None:
            raise error
        check_digits(text)
    try:
        head = _decode_head(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if b"NaN" not in text and b"Infinity" not in text:
            raise _no_request(error) from None
        text = _with_literals_replaced(text)
        try:
            head = _decode_head(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as still:
            raise _no_request(still) from None
    # Every member has a colon: if there are as many colons as members, none is repeated.
    members = _members(head)
    if count_members(text, members, structure) != members:
        check_duplicate_keys(text)
    return head


def _excess(structure: Structure, max_objects: int, max_rows: int, width: int) -> HTTPError | None:
    """Return the error of a JSON part that has far more than a request may have; None if it has not."""
    max_members = MAX_HEAD_MEMBERS * (max_objects + 1)
    counts = (("objects", structure.objects, max_objects), ("members", structure.members, max_members))
    for what, found, limit in counts:
        if found > limit:
            return TensorsRejectedError([f"expected at most {limit} {what} in the JSON part; found {found}"])
    if structure.commas > max_rows * width + max_members:
        return PayloadTooLargeError("rows (values of tensors)", max_rows, "SLUICE_SERVICE_MAX_ROWS")
    return None


def _no_request(error: Exception) -> TensorsRejectedError:
    return TensorsRejectedError([f"the JSON part is not an inference request: {error}"])


def _with_literals_replaced(text: bytes) -> bytes:
    """Return the JSON part with NaN as null, and with Infinity as a number beyond double precision, outside of strings.

    JSON has neither, but Python's ``json.dumps`` writes them, and clients use it: tritonclient for one.
    """
    plain = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # as long as before, without quotes in strings
    if plain.count(b'"') > MAX_QUOTES:
        return text
    parts: list[bytes] = []
    at = 0
    for position, part in enumerate(plain.split(b'"')):
        piece = text[at : at + len(part)]
        at += len(part) + 1
        parts.append(piece if position % 2 else piece.replace(b"NaN", b"null").replace(b"Infinity", INFINITY))
    return b'"'.join(parts)


def _members(head: RequestHead) -> int:
    """Return the number of members of an ordinary request; others are checked thoroughly."""
    count = 1 + (head.id is not None) + (head.outputs is None or bool(head.outputs))
    outputs = head.outputs or []
    parts: list[RequestHead | TensorHead | OutputHead] = [head, *head.inputs, *outputs]
    for each in parts:
        count += 1 + len(each.parameters) if each.parameters else each.parameters is None
    for tensor in head.inputs:
        count += 4 if tensor.data else 3
    return count + len(outputs)
