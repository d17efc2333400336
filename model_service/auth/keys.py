"""The keys that verify tokens: a shared secret, a public key, or an issuer's JWK Set."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from include.errors import SettingsError
from include.telemetry import FaultLog
from include.tokens import MIN_SECRET_BYTES
from model_service.auth.jwks import FETCH_SECONDS, MIN_RSA_BITS, JWKSetError, fetch_jwk_set
from model_service.http.errors import JWKSUnavailableError
from model_service.server.log_unexpected import log_unexpected

Key = Any  # what PyJWT takes: bytes, a public key, or a PyJWK

# A withdrawn key remains valid until the set is read again, and tokens that it verified are cached for a while longer
# (`token_cache.MAX_SECONDS`): all together take less than five minutes, as the reference promises.
REFRESH_SECONDS: Final = 120.0
# Of an issuer that cannot be read nobody knows which keys it has withdrawn. See docs/decisions/0028.
MAX_AGE_SECONDS: Final = 3600.0
MAX_WAITING: Final = 8
WAIT_MARGIN: Final = 1.0
MIN_PAUSE: Final = 1.0

log = logging.getLogger(__name__)


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

    def start(self) -> None:
        """Do nothing: the key is known."""


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

    def start(self) -> None:
        """Do nothing: the key is known."""


class RotatingKeys:
    """RS256 and ES256 with the keys that an issuer publishes as a JWK Set (RFC 7517).

    One thread reads the set: every `refresh` seconds, so that a withdrawn key does not remain valid for longer, and
    when a token names an unknown key. Between two readings are at least `cooldown` seconds, whether they succeed or
    not: invented key ids must not trigger calls to the issuer. A token with a known key never waits for a reading.
    With an unknown one, `MAX_WAITING` requests wait until the reading ends; others are told when to try again.

    Parameters
    ----------
    url : str
        With the scheme http or https.
    cooldown : float
        Minimum time between two readings, in seconds.
    max_age : float
        Age up to which the keys are used while the issuer cannot be read, in seconds.
    refresh, fetch_seconds : float
        Interval between readings and maximum duration of one, in seconds.
    """

    algorithms: tuple[str, ...] = ("RS256", "ES256")

    def __init__(
        self,
        url: str,
        cooldown: float,
        max_age: float = MAX_AGE_SECONDS,
        *,
        refresh: float = REFRESH_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        if urlsplit(url).scheme.lower() not in {"http", "https"}:
            raise SettingsError(
                f"SLUICE_AUTH_JWKS_URL: expected an http or https URL; found {url[:100]!r}. Set it to the issuer's "
                "jwks_uri."
            )
        self._url, self._cooldown, self._max_age = url, cooldown, max_age
        self._refresh, self._fetch_seconds = refresh, fetch_seconds
        self._known: tuple[dict[str, Key], float] = ({}, float("-inf"))  # keys, and when reading them began
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._reading_since: float | None = None
        self._readings = 0  # that have ended
        self._read_at = float("-inf")  # when the last one ended
        self._succeeded = False
        self._waiting = 0
        self._fault = FaultLog(log, f"the issuer's keys cannot be read; known ones are used for {max_age:g} s")

    def key_of(self, token: str) -> Key:
        """Return the key that the token's header names.

        Raises
        ------
        jwt.PyJWKClientError
            If the header names no key, or one that is not in the set.
        JWKSUnavailableError
            If the set must be read and cannot be, or too many requests wait for it.
        """
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str):
            raise jwt.PyJWKClientError("the token names no key")
        key = self._fresh(kid)
        return self._awaited(kid) if key is None else key

    def start(self) -> None:
        """Begin to read the set, and wait until it was read once or could not be."""
        with self._changed:
            self._start_reading()
            self._changed.wait_for(lambda: self._readings > 0, self._fetch_seconds + WAIT_MARGIN)

    def _fresh(self, kid: str) -> Key | None:
        keys, begun = self._known
        return keys.get(kid) if monotonic() - begun <= self._max_age else None

    def _awaited(self, kid: str) -> Key:
        """Return a key that was unknown, after the set was read."""
        with self._changed:
            self._start_reading()
            seen = self._readings
            if self._reading_since is not None:
                self._wait_for_reading(self._reading_since + self._fetch_seconds - monotonic())
            key = self._fresh(kid)
            if key is not None:
                return key
            if self._readings == seen and self._reading_since is not None:  # it hangs, such as in the look-up of a name
                raise JWKSUnavailableError(max(1.0, self._cooldown))
            if not self._succeeded:
                raise JWKSUnavailableError(self._read_at + self._cooldown - monotonic())
        raise jwt.PyJWKClientError("it is not in the set")

    def _start_reading(self) -> None:
        """Have the set read, unless it is being read, or was a moment ago."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read_forever, name="jwks", daemon=True)
            self._reading_since = monotonic()
            self._thread.start()
        elif self._reading_since is None and monotonic() - self._read_at >= self._cooldown:
            self._reading_since = monotonic()
            self._changed.notify_all()

    def _wait_for_reading(self, seconds: float) -> None:
        if self._waiting >= MAX_WAITING:
            raise JWKSUnavailableError(seconds)
        before = self._readings
        self._waiting += 1
        try:
            # A little longer than the reading may take: it gets the time to say that it failed.
            self._changed.wait_for(lambda: self._readings != before, max(0.0, seconds) + WAIT_MARGIN)
        finally:
            self._waiting -= 1

    def _read_forever(self) -> None:
        while True:
            begun = monotonic()
            try:
                keys = fetch_jwk_set(self._url, self._fetch_seconds)
            except JWKSetError as error:
                succeeded = False
                self._fault.failed(f"{error}. Correct the issuer or SLUICE_AUTH_JWKS_URL")
            except Exception as error:  # noqa: BLE001  # this thread must not end: nothing else reads the set
                succeeded = False
                log_unexpected(log, "the issuer's keys could not be read", error)
            else:
                succeeded = True
                self._known = keys, begun
                self._fault.worked()
            with self._changed:
                self._succeeded, self._read_at, self._reading_since = succeeded, monotonic(), None
                self._readings += 1
                self._changed.notify_all()
                pause = self._refresh if succeeded else max(self._cooldown, MIN_PAUSE)
                self._changed.wait_for(lambda: self._reading_since is not None, pause)
                self._reading_since = self._reading_since or monotonic()
