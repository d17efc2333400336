"""What a look-up asks for: the request's key, keys, partition and page, checked before the database sees them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from include.inference import FieldError
from include.inference.field_errors import rows_rejected
from include.schedule import parse_day, parse_rfc3339
from model_service.db.score_repository import Key, KeyKind
from model_service.http.body import parse_json
from model_service.http.errors import InvalidParameterError, PayloadTooLargeError

LARGEST_BIGINT: Final = 2**63 - 1
MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
PARAMETERS: Final = frozenset({"partition", "history", "limit", "cursor"})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{11}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_A_PARTITION: Final = "a partition's start, as YYYY-MM-DD (UTC) or as RFC 3339"


def parse_key(text: str, kind: KeyKind) -> Key:
    """Return the key that a path names, as the table's type.

    Raises
    ------
    RowsRejectedError
        If it can be no key: nothing that the database could stumble over gets through.
    """
    if kind == "text":
        if "\x00" in text:
            raise rows_rejected([FieldError.of("key", "text without a NUL character", text)])
        return text
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and abs(int(text)) <= LARGEST_BIGINT:
        return int(text)
    raise rows_rejected([FieldError.of("key", "a 64-bit integer", text)])


def parse_keys(body: bytes, kind: KeyKind, most: int) -> list[Key]:
    """Return the keys that a body ``{"keys": [...]}`` names.

    Raises
    ------
    MalformedBodyError
        If the body is not JSON.
    RowsRejectedError
        If it is of another shape, or a key is not of the table's type.
    PayloadTooLargeError
        If there are more than `most` keys.
    """
    document = parse_json(body)
    if type(document) is not dict or set(document) != {"keys"} or type(document["keys"]) is not list:
        raise rows_rejected([FieldError.of("$", 'an object with the one member "keys", a list', document)])
    keys: list[Any] = document["keys"]
    if len(keys) > most:
        raise PayloadTooLargeError("keys", most, "SLUICE_SERVICE_MAX_KEYS")
    fits = _is_text if kind == "text" else _is_bigint
    wanted = "text without a NUL character" if kind == "text" else "a 64-bit integer"
    faults = [FieldError.of(f"$.keys[{place}]", wanted, key) for place, key in enumerate(keys) if not fits(key)]
    if faults:
        raise rows_rejected(faults)
    return keys


def _is_text(key: Any) -> bool:
    if type(key) is not str or "\x00" in key:
        return False
    try:  # half of a surrogate pair is legal in JSON's escapes, and in no database
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_bigint(key: Any) -> bool:
    return type(key) is int and -LARGEST_BIGINT <= key <= LARGEST_BIGINT


def reject_unknown_parameters(found: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Refuse a parameter that would be ignored: a misspelt one would get the answer to another question.

    Raises
    ------
    InvalidParameterError
        Naming the first one.
    """
    for name, value in found.items():
        if name not in allowed:
            expected = f"only {', '.join(allowed)} here" if allowed else "no parameters here"
            raise InvalidParameterError(name[:60], expected, value)


def parse_partition(text: str) -> datetime:
    """Return the partition's start that a parameter names; a date is that day's start in UTC.

    Raises
    ------
    InvalidParameterError
        If it is neither a date nor a time with its offset.
    """
    try:
        return parse_day(text) if _DATE.fullmatch(text) else parse_rfc3339(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameterError("partition", _A_PARTITION, text) from None


def parse_limit(text: str | None) -> int:
    """Return how many scores a page of history may hold."""
    if text is None:
        return DEFAULT_PAGE
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_PAGE:
        return int(text)
    raise InvalidParameterError("limit", f"a whole number from 1 to {MAX_PAGE}", text)


def parse_bool(name: str, text: str | None) -> bool:
    """Return what a parameter that is true or false says; without it, false."""
    if text in (None, "false"):
        return False
    if text == "true":
        return True
    raise InvalidParameterError(name, "true or false", str(text))


def encode_cursor(partition_start: datetime) -> str:
    """Return the cursor of the page that goes on below the partition that starts at `partition_start`."""
    micros = (partition_start - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(micros.to_bytes(8, "big", signed=True)).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> datetime | None:
    """Return where the page that `cursor` names begins: below this partition's start.

    Raises
    ------
    InvalidParameterError
        If no answer ever held this cursor.
    """
    if cursor is None:
        return None
    try:
        if _CURSOR.fullmatch(cursor):
            micros = int.from_bytes(base64.urlsafe_b64decode(cursor + "="), "big", signed=True)
            return _EPOCH + timedelta(microseconds=micros)
    except (binascii.Error, OverflowError):
        pass
    raise InvalidParameterError("cursor", "the next_cursor of an answer", cursor)
