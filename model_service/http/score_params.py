"""Parses the parameters of score look-ups: key, keys, page and cursor. The database sees valid values only."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from include.inference import FieldError
from include.inference.field_errors import rows_rejected
from model_service.http.body import parse_json
from model_service.http.errors import InvalidParameterError, PayloadTooLargeError
from model_service.http.json_structure import Structure

Key = str | int
KeyKind = Literal["text", "bigint"]

MAX_BIGINT: Final = 2**63 - 1
MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
PARAMETERS: Final = frozenset({"partition", "history", "limit", "cursor"})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{11}")


def check_encoding(path: str) -> None:
    """Refuse a key that is not UTF-8, which Flask would replace by another key.

    Parameters
    ----------
    path : str
        ``PATH_INFO``: the bytes of the path, each as a character (PEP 3333).

    Raises
    ------
    RowsRejectedError
    """
    try:
        path.encode("latin-1").decode()
    except UnicodeError:
        raise rows_rejected([FieldError("key", "percent-encoded UTF-8", "bytes that are no UTF-8")]) from None


def parse_key(text: str, kind: KeyKind) -> Key:
    """Return the key in a path, converted to the type of the table's column.

    Raises
    ------
    RowsRejectedError
        If it cannot be a key, so that no invalid value reaches the database.
    """
    if kind == "text":
        if "\x00" in text:
            raise rows_rejected([FieldError.of("key", "text without a NUL character", text)])
        return text
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and abs(int(text)) <= MAX_BIGINT:
        return int(text)
    raise rows_rejected([FieldError.of("key", "a 64-bit integer", text)])


def parse_keys(body: bytes, kind: KeyKind, max_keys: int, structure: Structure | None = None) -> list[Key]:
    """Return the keys in a body ``{"keys": [...]}``; `structure` is what `check_depth` returned for the body.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If it has a different structure, or a key does not have the type of the table's column.
    PayloadTooLargeError
        If there are more than `max_keys` keys.
    """
    if structure and structure.commas > max_keys:  # before they are parsed
        raise PayloadTooLargeError("keys", max_keys, "SLUICE_SERVICE_MAX_KEYS")
    document = parse_json(body, structure)
    if type(document) is not dict or set(document) != {"keys"} or type(document["keys"]) is not list:
        raise rows_rejected([FieldError.of("$", 'an object with the one member "keys", a list', document)])
    keys: list[Any] = document["keys"]
    if len(keys) > max_keys:
        raise PayloadTooLargeError("keys", max_keys, "SLUICE_SERVICE_MAX_KEYS")
    is_valid = _is_text if kind == "text" else _is_bigint
    expected = "text without a NUL character" if kind == "text" else "a 64-bit integer"
    faults = [
        FieldError.of(f"$.keys[{position}]", expected, key) for position, key in enumerate(keys) if not is_valid(key)
    ]
    if faults:
        raise rows_rejected(faults)
    return keys


def _is_text(key: Any) -> bool:
    if type(key) is not str or "\x00" in key:
        return False
    try:  # JSON's escapes allow an unpaired surrogate; no database does
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_bigint(key: Any) -> bool:
    return type(key) is int and -MAX_BIGINT <= key <= MAX_BIGINT


def reject_unknown_parameters(given: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Refuse unknown parameters: if a misspelt one were ignored, the response would answer a different request.

    Raises
    ------
    InvalidParameterError
        For the first unknown parameter.
    """
    for name, value in given.items():
        if name not in allowed:
            expected = f"only {', '.join(allowed)} here" if allowed else "no parameters here"
            raise InvalidParameterError(name[:60], expected, value)


def parse_integer(name: str, text: str | None, *, default: int, minimum: int, maximum: int) -> int:
    """Return the value of a parameter that is a whole number.

    Raises
    ------
    InvalidParameterError
        If it is not one from `minimum` to `maximum`.
    """
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and minimum <= int(text) <= maximum:
        return int(text)
    raise InvalidParameterError(name, f"a whole number from {minimum} to {maximum}", text)


def parse_limit(text: str | None) -> int:
    """Return the maximum number of scores on a page of the history."""
    return parse_integer("limit", text, default=DEFAULT_PAGE, minimum=1, maximum=MAX_PAGE)


def parse_bool(name: str, text: str | None) -> bool:
    """Return the value of a boolean parameter; the default is false."""
    if text in (None, "false"):
        return False
    if text == "true":
        return True
    raise InvalidParameterError(name, "true or false", str(text))


def encode_cursor(partition_start: datetime) -> str:
    """Return the cursor of the page with the partitions before `partition_start`."""
    micros = (partition_start - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(micros.to_bytes(8, "big", signed=True)).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> datetime | None:
    """Return the partition start in a cursor: the page has the partitions before it.

    Raises
    ------
    InvalidParameterError
        If it is not a cursor of a response.
    """
    if cursor is None:
        return None
    try:
        if _CURSOR.fullmatch(cursor):
            micros = int.from_bytes(base64.urlsafe_b64decode(cursor + "="), "big", signed=True)
            return _EPOCH + timedelta(microseconds=micros)
    except (binascii.Error, OverflowError):
        pass
    raise InvalidParameterError("cursor", "the next_cursor of a response", cursor)
