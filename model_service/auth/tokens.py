"""Verifies tokens.

Sources: RFC 7519 (JWT), RFC 8725 (its best current practice: the algorithms are fixed here, never taken from the
token), RFC 8693 section 4.2 (``scope``: names separated by spaces).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import jwt

from include.tokens import REQUIRED_CLAIMS
from model_service.auth.keys import Key
from model_service.http.errors import InvalidTokenError
from model_service.http.principal import Principal

MAX_TOKEN_LENGTH: Final = 8192
MAX_SUBJECT_LENGTH: Final = 255

_decoder = jwt.PyJWT(options={"enforce_minimum_key_length": True})


class KeySource(Protocol):
    """Provides keys, and the algorithms that they are for."""

    algorithms: tuple[str, ...]

    def key_of(self, token: str) -> Key:
        """Return the key that the header of `token` names."""


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
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise InvalidTokenError(_reason_of(error)) from None
        return self._principal_of(claims)

    def _principal_of(self, claims: dict[str, Any]) -> Principal:
        subject = claims["sub"]
        if not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
            raise InvalidTokenError(f"expected sub of 1 to {MAX_SUBJECT_LENGTH} characters; found {len(subject)}")
        scope, models = claims.get("scope", ""), claims.get("models")
        if not isinstance(scope, str):
            raise InvalidTokenError("expected scope as text, names separated by spaces")
        if models is not None and not (isinstance(models, list) and all(isinstance(each, str) for each in models)):
            raise InvalidTokenError("expected models as a list of names")
        return Principal(
            subject,
            frozenset(scope.split()),
            None if models is None else frozenset(models),
            float(claims["exp"]) + self._leeway,
        )


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
