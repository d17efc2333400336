"""The JSON part of an inference request, which precedes the binary tensors."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from model_service.http.body import check_duplicate_keys
from model_service.http.errors import TensorsRejectedError
from model_service.http.json_structure import check_depth, count_members, count_objects

_NO_DATA: Final = msgspec.Raw()
MAX_HEAD_MEMBERS: Final = 10  # of an object, on average: a tensor has five members, its parameters mostly one


class TensorHead(msgspec.Struct):
    """An input tensor in the JSON part."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = _NO_DATA


class OutputHead(msgspec.Struct):
    """A requested output."""

    name: str
    parameters: dict[str, Any] = {}


class RequestHead(msgspec.Struct):
    """The JSON part of a request."""

    inputs: list[TensorHead]
    id: str | None = None
    outputs: list[OutputHead] = []
    parameters: dict[str, Any] = {}


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


def read_head(text: bytes, max_depth: int, max_objects: int) -> RequestHead:
    """Decode the JSON part, which may have `max_objects` tensors and other objects.

    Raises
    ------
    MalformedBodyError
        If it is nested too deeply.
    TensorsRejectedError
        If it is not a request of the protocol.
    RowsRejectedError
        If a member is repeated.
    """
    check_depth(text, max_depth)
    if (objects := count_objects(text, max_objects)) > max_objects:
        raise TensorsRejectedError([f"expected at most {max_objects} objects in the JSON part; found {objects}"])
    try:
        head = _decode_head(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise TensorsRejectedError([f"the JSON part is not an inference request: {error}"]) from None
    # Every member has a colon: if there are as many colons as members, none is repeated.
    members = _members(head)
    if count_members(text, expected=members) != members:
        check_duplicate_keys(text, MAX_HEAD_MEMBERS)
    return head


def _members(head: RequestHead) -> int:
    """Return the number of members of an ordinary request; others are checked thoroughly."""
    count = 1 + (head.id is not None) + bool(head.outputs)
    parts: list[RequestHead | TensorHead | OutputHead] = [head, *head.inputs, *head.outputs]
    for each in parts:
        count += 1 + len(each.parameters) if each.parameters else 0
    for tensor in head.inputs:
        count += 4 if tensor.data else 3
    return count + len(head.outputs)
