"""The headers of every response, by status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_CHALLENGE: Final = {"WWW-Authenticate": "The authentication scheme, and the error of the token (RFC 6750)."}
_WAIT: Final = {"Retry-After": "Seconds to wait before a retry."}
_BY_STATUS: Final = {401: _CHALLENGE, 403: _CHALLENGE, 429: _WAIT, 503: _WAIT}


def headers_of(status: int, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the headers of every response with this status, and `more`."""
    always = {
        "X-Request-ID": "The id of the request in the service's log.",
        **_BY_STATUS.get(status, {}),
        **(more or {}),
    }
    return {
        name: {"description": text, "required": True, "schema": {"type": "string"}} for name, text in always.items()
    }
