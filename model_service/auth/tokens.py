"""Verifies tokens.

Sources: RFC 7519 (JWT), RFC 8725 (its best current practice: the algorithms are fixed here, never taken from the
token), RFC 8693 section 4.2 (``scope``: names separated by spaces).
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

import jwt

from include.tokens import REQUIRED_CLAIMS
from model_service.auth.keys import Key
from model_service.http.errors import InvalidTokenError
from model_service.http.principal import Principal

MAX_TOKEN_LENGTH: Final = 8192
MAX_SUBJECT_LENGTH: Final = 255

MAX_SECONDS: Final = 253_402_300_799  # the last second of the year 9999; milliseconds of today are above it
DATE_CLAIMS: Final = ("exp", "nbf", "iat")

# Control characters, which break lines of logs and which PostgreSQL cannot store, and halves of surrogate pairs, which
# UTF-8 cannot encode: the subject gets into the access log and into the table of jobs.
_UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class KeySource(Protocol):
    """Provides keys, and the algorithms that they are for."""

    algorithms: tuple[str, ...]

    def key_of(self, token: str) -> Key:
        """Return the key that the header of `token` names."""

    def start(self) -> None:
        """Read the keys, if that takes time. Call it in the worker, before its first request."""


class _Decoder(jwt.PyJWT):
    """Checks the dates before PyJWT does, which takes the texts and booleans among them that `int` takes."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        claims = super()._decode_payload(decoded)
        for name in DATE_CLAIMS:
            if name in claims:
                _check_date(name, claims[name])
        return claims


_decoder = _Decoder(options={"enforce_minimum_key_length": True})


class TokenVerifier:
    """Verifies tokens of one issuer for one audience.

    Parameters
    ----------
    keys : KeySource
    issuer, audience : str
    leeway : float
        Maximum difference between clocks, in seconds.
    """

    def __init__(self, keys: KeySource, issuer: str, audience: str, leeway: float) -> None:
        self._keys = keys
        self._issuer, self._audience, self._leeway = issuer, audience, leeway

    def start(self) -> None:
        """Read the keys; see `KeySource.start`."""
        self._keys.start()

    def verify(self, token: str) -> Principal:
        """Return the bearer of `token`.

        Raises
        ------
        InvalidTokenError
            If the signature, a claim or the time is invalid; the message tells which.
        JWKSUnavailableError
            If the keys cannot be read.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidTokenError(f"expected at most {MAX_TOKEN_LENGTH} characters; found {len(token)}")
        try:
            claims = _decoder.decode(
                token,
                self._keys.key_of(token),
                algorithms=list(self._keys.algorithms),
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": list(REQUIRED_CLAIMS)},
            )
        # A token is bytes of anybody: TypeError and RecursionError are for headers and nested claims of odd kinds.
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidTokenError(_reason_of(error)) from None
        return self._principal_of(claims)

    def _principal_of(self, claims: dict[str, Any]) -> Principal:
        return Principal(
            _subject_of(claims), _scopes_of(claims), _models_of(claims), float(claims["exp"]) + self._leeway
        )


def _subject_of(claims: dict[str, Any]) -> str:
    subject: str = claims["sub"]
    if not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise InvalidTokenError(f"expected sub of 1 to {MAX_SUBJECT_LENGTH} characters; found {len(subject)}")
    found = _UNUSABLE.search(subject)
    if found:
        raise InvalidTokenError(
            f"expected sub without control characters and unpaired surrogates; found U+{ord(found[0]):04X}"
        )
    return subject


def _scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise InvalidTokenError(f"expected scope as text, names separated by spaces; found {_kind_of(scope)}")
    return frozenset(scope.split())


def _models_of(claims: dict[str, Any]) -> frozenset[str] | None:
    """Return the models that the token grants; None, for all, only if there is no such claim."""
    if "models" not in claims:
        return None
    models = claims["models"]
    if not isinstance(models, list):
        raise InvalidTokenError(
            f"expected models as a list of names, or no claim models for all models; found {_kind_of(models)}"
        )
    for each in models:
        if not isinstance(each, str):
            raise InvalidTokenError(f"expected models as a list of names; found {_kind_of(each)} in it")
    return frozenset(models)


def _check_date(name: str, value: object) -> None:
    found = _kind_of(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= MAX_SECONDS:  # false for NaN
            return
        found = "a number out of this range"
    raise InvalidTokenError(f"expected {name} in seconds since 1970, a number from 0 to {MAX_SECONDS}; found {found}")


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")


def _reason_of(error: Exception) -> str:
    """Return a reason without any content of the token, because it is sent in a header."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the claim {error.claim} is missing"
    known = {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is not valid yet",
        jwt.InvalidIssuerError: "it has another issuer",
        jwt.InvalidAudienceError: "it has another audience",
        jwt.exceptions.InvalidSubjectError: "the claim sub is not text",
        jwt.InvalidSignatureError: "its signature is invalid",
        jwt.InvalidAlgorithmError: "its algorithm is not accepted",
        jwt.PyJWKClientError: "its key is not among the issuer's keys",
    }
    return next((reason for kind, reason in known.items() if isinstance(error, kind)), "it is not a well-formed token")
