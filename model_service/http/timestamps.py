"""Parses the times in query parameters (RFC 3339)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from include.schedule import parse_day, parse_rfc3339
from model_service.http.errors import InvalidParameterError

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


def parse_timestamp(name: str, text: str | None) -> datetime | None:
    """Return the time in the query parameter `name`.

    Raises
    ------
    InvalidParameterError
        If it is not a time with an offset.
    """
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidParameterError(name, "a time such as 2026-11-23T12:00:00Z (RFC 3339)", text) from None


def parse_partition(text: str) -> datetime:
    """Return the start of a partition in UTC; a date means the start of that day in UTC.

    Raises
    ------
    InvalidParameterError
        If it is neither a date nor a time with an offset.
    """
    try:
        return parse_day(text) if _DATE.fullmatch(text) else parse_rfc3339(text).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "a partition's start, as YYYY-MM-DD (UTC) or as RFC 3339"
        raise InvalidParameterError("partition", expected, text) from None
