"""Reads an issuer's JWK Set (RFC 7517). All that the issuer determines is bounded: time, bytes, keys, depth.

PyJWT's client bounds the time of each read only, so an issuer that sends a byte a second is read for hours; it reads a
response of any length.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.error import HTTPError

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from model_service.http.errors import MalformedBodyError
from model_service.http.json_structure import check_depth

FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
MAX_DEPTH: Final = 8
MAX_KID_LENGTH: Final = 255
MIN_RSA_BITS: Final = 2048
# The members that make a key, and their greatest lengths: an RSA key of 8,192 bits, a point on P-256.
_RSA: Final = {"n": 1366, "e": 8}
_EC: Final = {"x": 43, "y": 43}


class JWKSetError(Exception):
    """The set cannot be read or used; the message says why, and contains nothing that the issuer sent."""


def fetch_jwk_set(url: str, seconds: float = FETCH_SECONDS) -> dict[str, jwt.PyJWK]:
    """Return the keys for RS256 and ES256 of the set at `url`, by key id.

    Parameters
    ----------
    url : str
        With the scheme http or https; redirects are not followed.
    seconds : float
        Maximum time from the connection to the last byte. The look-up of the host's name is not included, nor are
        addresses of it that do not respond: each takes this time at most.

    Raises
    ------
    JWKSetError
        If the issuer does not respond in time, or not with a set that has a usable key.
    """
    return parse_jwk_set(_read(url, seconds))


def parse_jwk_set(body: bytes) -> dict[str, jwt.PyJWK]:
    """Return the usable keys of a set, by key id; see `fetch_jwk_set`."""
    try:
        check_depth(body, MAX_DEPTH)
        document = json.loads(body)
    except MalformedBodyError:
        raise JWKSetError(f"expected at most {MAX_DEPTH} levels of JSON; found more") from None
    except (ValueError, RecursionError):
        raise JWKSetError("expected JSON; found something else") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise JWKSetError('expected an object with a list "keys"; found something else')
    if len(members) > MAX_KEYS:
        raise JWKSetError(f"expected at most {MAX_KEYS} keys; found {len(members)}")
    keys: dict[str, jwt.PyJWK] = {}
    for member in members:
        kid, key = _usable(member)
        if key is not None:
            keys.setdefault(kid, key)
    if not keys:
        raise JWKSetError(
            "expected a key with a kid for RS256 (RSA, at least 2048 bits) or ES256 (EC, P-256); found none among "
            f"{len(members)}"
        )
    return keys


def _usable(member: Any) -> tuple[str, jwt.PyJWK | None]:
    """Return the id and the key of a member of a set; None if it is not for signatures that are accepted."""
    nothing = "", None
    if not isinstance(member, dict) or member.get("use") not in (None, "sig"):
        return nothing
    kid = member.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        return nothing
    if member.get("kty") == "RSA":
        algorithm, lengths, kind = "RS256", _RSA, {"kty": "RSA"}
    elif member.get("kty") == "EC" and member.get("crv") == "P-256":
        algorithm, lengths, kind = "ES256", _EC, {"kty": "EC", "crv": "P-256"}
    else:
        return nothing
    if member.get("alg") not in (None, algorithm):
        return nothing
    public = {name: member.get(name) for name in lengths}
    if not all(isinstance(value, str) and len(value) <= lengths[name] for name, value in public.items()):
        return nothing
    try:
        key = jwt.PyJWK(kind | public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return nothing
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS:
        return nothing
    return kid, key


def _read(url: str, seconds: float) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # its scheme is checked
    with _deadline(seconds) as deadline:
        try:
            with _opener(deadline).open(request, timeout=seconds) as response:
                body: bytes = response.read(MAX_BYTES + 1)
        except HTTPError as error:
            error.close()
            raise JWKSetError(f"expected status 200; found {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if deadline.expired:
                raise JWKSetError(f"it did not send the set within {seconds:g} s") from None
            reason = getattr(error, "reason", error)
            detail = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
            raise JWKSetError(f"it does not respond: {detail}") from None
    if deadline.expired:  # a body without a length ends where the connection does
        raise JWKSetError(f"it did not send the set within {seconds:g} s")
    if len(body) > MAX_BYTES:
        raise JWKSetError(f"expected at most {MAX_BYTES} bytes; found more")
    return body


class _Deadline:
    """Ends a connection, whatever it waits for, when the time is over."""

    def __init__(self) -> None:
        self.expired = False
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []

    def watch(self, connected: socket.socket) -> None:
        """Take a connected socket, before TLS wraps it."""
        with self._lock:
            self._watched.append(connected.dup())
        if self.expired:
            self.expire()

    def expire(self) -> None:
        """End what is connected, and all that will be."""
        self.expired = True
        with self._lock:
            for each in self._watched:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the sockets."""
        with self._lock:
            for each in self._watched:
                each.close()
            self._watched.clear()


@contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline()
    timer = threading.Timer(seconds, deadline.expire)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: the set is where the operator says that it is."""


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Return an opener whose connections `deadline` ends; it uses proxies as urllib does."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class Secure(http.client.HTTPSConnection, Plain):
        """Its own connect calls that of `Plain`, and then begins TLS."""

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, request, context=ssl.create_default_context())

    return urllib.request.build_opener(_NoRedirect, PlainHandler, SecureHandler)
