"""The errors by which a request is turned away before it is looked into.

Each says its headers itself. ``WWW-Authenticate`` follows RFC 6750, section 3: no error code for
whoever showed no token, ``invalid_token`` for 401, ``insufficient_scope`` for 403.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from include.errors import SluiceError

REALM = 'Bearer realm="sluice"'


class HTTPError(SluiceError):
    """A request that is turned away; `headers` go into the answer."""

    headers: Mapping[str, str]

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class AuthenticationRequiredError(HTTPError):
    """The request carries no token."""

    def __init__(self) -> None:
        super().__init__(
            "expected a token in the header Authorization: Bearer ...; found none. Get one from your operator.",
            {"WWW-Authenticate": REALM},
        )


class InvalidTokenError(HTTPError):
    """The request's token is not right, or not any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the token is not taken: {reason}. Get a new one.",
            {"WWW-Authenticate": f'{REALM}, error="invalid_token", error_description="{reason}"'},
        )


class PermissionDeniedError(HTTPError):
    """The request's token is right, and not good for what is asked."""

    def __init__(self, scope: str, reason: str) -> None:
        super().__init__(
            f"the token is not good for this: {reason}. Get one that is.",
            {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", error_description="{reason}", scope="{scope}"'},
        )


class JWKSUnavailableError(HTTPError):
    """The keys that tokens are verified with cannot be had now."""

    def __init__(self) -> None:
        super().__init__(
            "the token cannot be verified now: the issuer's keys cannot be read. Ask again in a moment.",
            {"Retry-After": "5"},
        )


class OverloadedError(HTTPError):
    """As many requests are under way as the worker takes."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} requests are under way, the most that this worker takes at once. Ask again in a second.",
            {"Retry-After": "1"},
        )


class RateLimitedError(HTTPError):
    """A caller asks more often than it may.

    Parameters
    ----------
    rate : float
        Requests a second that the whole service grants.
    workers : int
        Of which each grants its share.
    seconds : float
        How long the caller is to wait.
    """

    def __init__(self, rate: float, workers: int, seconds: float) -> None:
        share = f", of which each of {workers} workers grants its share, {rate / workers:g}" if workers > 1 else ""
        super().__init__(
            f"expected at most {rate:g} requests a second of one caller{share}; this one comes too early. "
            "Wait as long as Retry-After says.",
            {"Retry-After": str(max(1, math.ceil(seconds)))},
        )
