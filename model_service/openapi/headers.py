"""The headers that answers always carry, by their status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_CHALLENGE: Final = {"WWW-Authenticate": "What is asked for, and what is wrong with the token (RFC 6750)."}
_WAIT: Final = {"Retry-After": "After how many seconds to ask again."}
_BY_STATUS: Final = {401: _CHALLENGE, 403: _CHALLENGE, 429: _WAIT, 503: _WAIT}


def headers_of(status: int, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the headers that an answer of this status always carries, and `more`."""
    always = {"X-Request-ID": "Under which the log knows it.", **_BY_STATUS.get(status, {}), **(more or {})}
    return {
        name: {"description": text, "required": True, "schema": {"type": "string"}} for name, text in always.items()
    }
