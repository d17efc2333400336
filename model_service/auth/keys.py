"""The keys that verify tokens: a shared secret, a public key, or an issuer's JWK Set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from include.errors import SettingsError
from include.tokens import MIN_SECRET_BYTES
from model_service.http.errors import JWKSUnavailableError

Key = Any  # what PyJWT takes: bytes, a public key, or a PyJWK

MIN_RSA_BITS: Final = 2048
FETCH_SECONDS: Final = 2.0
# A withdrawn key remains valid while the set that contains it is cached, and tokens that it verified are cached for a
# while longer (`token_cache.MAX_SECONDS`). Both together, and reading the set, take five minutes at most. The set has
# the larger part: reading it is a call to the issuer, verifying a token again takes 54 microseconds.
JWKS_SECONDS: Final = 230.0


class SharedSecret:
    """HS256 with a secret of at least 32 bytes."""

    algorithms: tuple[str, ...] = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        if len(self._secret) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"SLUICE_AUTH_SECRET: expected at least {MIN_SECRET_BYTES} bytes, as HS256 needs (RFC 7518, 3.2); "
                f"found {len(self._secret)}. Generate one: `openssl rand -hex 32`."
            )

    def key_of(self, _token: str) -> Key:
        """Return the secret, which signs every token."""
        return self._secret


class PublicKey:
    """RS256 or ES256 with one public key, depending on the PEM file."""

    def __init__(self, file: Path) -> None:
        try:
            self._key = load_pem_public_key(file.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise SettingsError(
                f"SLUICE_AUTH_PUBLIC_KEY: expected a PEM file with a public key; {file} could not be read as one "
                f"({type(error).__name__}). Set it to a file that begins with -----BEGIN PUBLIC KEY-----."
            ) from error
        self.algorithms = self._algorithms(file)

    def _algorithms(self, file: Path) -> tuple[str, ...]:
        if isinstance(self._key, RSAPublicKey) and self._key.key_size >= MIN_RSA_BITS:
            return ("RS256",)
        if isinstance(self._key, EllipticCurvePublicKey) and isinstance(self._key.curve, SECP256R1):
            return ("ES256",)
        raise SettingsError(
            f"SLUICE_AUTH_PUBLIC_KEY: expected an RSA key of at least {MIN_RSA_BITS} bits (RS256) or one on the "
            f"curve P-256 (ES256); {file} contains another. Make the issuer sign with one of these."
        )

    def key_of(self, _token: str) -> Key:
        """Return the key, which verifies every token."""
        return self._key


class RotatingKeys:
    """RS256 and ES256 with the keys that an issuer publishes as a JWK Set (RFC 7517).

    The set is read again when it is `JWKS_SECONDS` old, so that a withdrawn key does not remain valid for longer, and
    when a token names an unknown key. The latter happens at most once in `cooldown` seconds, whether it succeeds or
    not: invented key ids must not trigger calls to the issuer.
    """

    algorithms: tuple[str, ...] = ("RS256", "ES256")

    def __init__(self, url: str, cooldown: float) -> None:
        try:
            self._client = _CooldownClient(
                url, lifespan=JWKS_SECONDS, timeout=FETCH_SECONDS, cooldown_duration=cooldown
            )
        except jwt.PyJWKClientError as error:
            raise SettingsError(
                f"SLUICE_AUTH_JWKS_URL: expected an http or https URL; {error}. Set it to the issuer's jwks_uri."
            ) from error

    def key_of(self, token: str) -> Key:
        """Return the key that the token's header names.

        Raises
        ------
        JWKSUnavailableError
            If the set must be read and cannot be.
        """
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str):
            raise jwt.PyJWKClientError("the token names no key")
        try:
            return self._client.get_signing_key(kid)
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, ValueError) as error:
            raise JWKSUnavailableError from error


class _CooldownClient(jwt.PyJWKClient):
    """After a failure, wait for the cooldown before the next call; PyJWT's client calls again immediately."""

    _retry_at = 0.0

    def fetch_data(self) -> Any:
        if time.monotonic() < self._retry_at:
            raise jwt.PyJWKClientConnectionError("the issuer's keys could not be read a moment ago")
        self._retry_at = time.monotonic() + self.cooldown_duration
        data = super().fetch_data()
        self._retry_at = 0.0
        return data
