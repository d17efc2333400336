"""An issuer's JWK Set is read in the background and within bounds; what an issuer does wrong stops no known token."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service.auth.jwks import MAX_BYTES, MAX_KEYS, JWKSetError, parse_jwk_set
from model_service.auth.keys import RotatingKeys
from model_service.http.errors import JWKSUnavailableError
from tests.model_service.issuers import EC, RSA, Issuer, dripping, endless, jwk, key_set, response, signed, silent

SETOSA = [5.1, 3.5, 1.4, 0.2]
FETCH = 0.5


@pytest.fixture
def issue() -> Iterator[Callable[..., Issuer]]:
    issuers: list[Issuer] = []

    def make(send: Callable[[socket.socket], None] | bytes) -> Issuer:
        issuers.append(Issuer(send if callable(send) else lambda connection: connection.sendall(send)))
        return issuers[-1]

    yield make
    for each in issuers:
        each.server.close()


GOOD = key_set(jwk("a"))
OK = b"HTTP/1.1 200 OK\r\n"
NONSENSE = {
    "html": response(b"<html>Sign in</html>"),
    "error": response(GOOD, "500 Internal Server Error"),
    "missing": response(GOOD, "404 Not Found"),
    "redirect": response(GOOD, "302 Found", "Location: /elsewhere"),
    "empty": response(b""),
    "cut off": response(GOOD)[:-10],
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "closed": b"",
    "gzip": response(b"\x1f\x8b\x08\x00\x00", "200 OK", "Content-Encoding: gzip"),
    "utf-16": response(GOOD.decode().encode("utf-16") + b"\xff"),
    "list": response(b"[]"),
    "null": response(b"null"),
    "number": response(b"9" * 5000),
    "no keys": response(b"{}"),
    "keys null": response(b'{"keys":null}'),
    "keys empty": response(b'{"keys":[]}'),
    "deep": response(b'{"keys":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "deep key": response(key_set(jwk("a", x5c=[[[[[[[[[[]]]]]]]]]]))),
    "many keys": response(key_set(*[jwk(f"{number}") for number in range(MAX_KEYS + 1)])),
    "large": response(b" " * MAX_BYTES + GOOD),
    "endless body": endless(OK + b"\r\n", b" " * 65_536),
    "endless chunks": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 1000),
    "endless header": endless(OK, b"A: b\r\n" * 1000),
    "endless line": endless(OK + b"A: ", b"b" * 65_536),
    "endless continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "dripping body": dripping(response(GOOD)),
    "dripping header": dripping(OK + b"A: b\r\n" * 100),
    "dripping without length": dripping(OK + b"\r\n" + GOOD),
    "silent": silent,
    "symmetric": response(key_set({"kty": "oct", "k": "A" * 43, "kid": "a"})),
    "weak": response(key_set(jwk("a", rsa.generate_private_key(65537, 1024)))),  # noqa: S505  # it is to be refused
    "huge modulus": response(key_set(jwk("a", n="_" * 100_000))),
    "huge exponent": response(key_set(jwk("a", e="_" * 1000))),
    "another curve": response(key_set(jwk("a", ec.generate_private_key(ec.SECP384R1())))),
    "no curve point": response(key_set(jwk("a", EC, x="AA"))),
    "for encryption": response(key_set(jwk("a", use="enc"))),
    "another algorithm": response(key_set(jwk("a", alg="PS256"))),
    "odd members": response(key_set(None, 7, "a", [], {"kid": {}}, jwk("a", n=7), jwk("", e=None), {"kty": ["RSA"]})),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_of_an_issuer_is_503_with_the_time_of_the_next_reading(
    issue: Callable[..., Issuer], kind: str
) -> None:
    issuer = issue(NONSENSE[kind])
    keys = RotatingKeys(issuer.url, cooldown=30, fetch_seconds=FETCH)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(JWKSUnavailableError) as refused:
            keys.key_of(signed("a"))
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 30
    assert time.monotonic() - began < 15, "it hangs"
    assert issuer.connections == 1
    assert int(refused.value.headers["Retry-After"]) > 10, "it is not read again before"


def test_keys_that_cannot_be_used_do_not_hide_those_that_can() -> None:
    found = parse_jwk_set(key_set({"kty": "oct", "k": "AA", "kid": "s"}, 7, jwk("a"), jwk("a", EC), jwk("b", EC)))
    assert {kid: key.algorithm_name for kid, key in found.items()} == {"a": "RS256", "b": "ES256"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBER = st.dictionaries(st.sampled_from(["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "d"]), ANYTHING)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(MEMBER, max_size=4), key=st.sampled_from([RSA, EC]))
def test_any_set_is_keys_for_the_two_algorithms_or_is_refused(changes: list[dict[str, Any]], key: Any) -> None:
    with suppress(JWKSetError):
        for kid, found in parse_jwk_set(key_set(*[jwk("a", key) | each for each in changes])).items():
            assert 0 < len(kid) <= 255
            assert found.algorithm_name in {"RS256", "ES256"}


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=300) | ANYTHING.map(lambda each: json.dumps(each).encode()))
def test_any_bytes_are_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(JWKSetError):
        parse_jwk_set(body)


def test_one_reading_at_a_time_and_at_most_one_in_the_cooldown(issue: Callable[..., Issuer]) -> None:
    issuer = issue(response(GOOD))
    keys = RotatingKeys(issuer.url, cooldown=30)
    with ThreadPoolExecutor(40) as pool:

        def ask(number: int) -> str:
            try:
                keys.key_of(signed(f"made-up-{number}"))
            except (jwt.PyJWKClientError, JWKSUnavailableError) as error:
                return type(error).__name__
            return "found"

        outcomes = set(pool.map(ask, range(200)))
    assert "found" not in outcomes
    assert "PyJWKClientError" in outcomes
    assert issuer.connections == 1


# -- as it really runs -----------------------------------------------------------------------------


class Caller:
    """Asks for predictions on one connection."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, bearer: str) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {bearer}"}
        self.connection.request("POST", "/predict", json.dumps({"features": SETOSA}), headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Retry-After"]


def test_an_issuer_that_drips_and_80_tokens_with_unknown_keys_delay_no_known_token(
    harness: Any, run_service: Callable[..., Any], issue: Callable[..., Issuer]
) -> None:
    issuer = issue(response(GOOD))
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2, SLUICE_AUTH_JWKS_URL=issuer.url, SLUICE_AUTH_JWKS_COOLDOWN_SECONDS="5")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    known = signed("a")
    service.wait_until(lambda: issuer.connections == 2)  # each worker reads it once, before its first request
    service.wait_until(lambda: {Caller(service.port).ask(known)[0] for _ in range(12)} == {200})
    assert issuer.connections == 2
    issuer.send = dripping(response(GOOD), pause=0.5)
    time.sleep(5.2)  # the cooldown
    stopping = threading.Event()
    good: list[tuple[int, str | None]] = []

    def go_on(number: int) -> None:
        caller = Caller(service.port)
        turn = 0
        while not stopping.is_set():
            turn += 1
            # The same token, which is remembered, and others with a known key, which are verified.
            good.append(caller.ask(known if turn % 2 else signed("a", jti=f"{number}-{turn}")))
            time.sleep(0.02)

    callers = [threading.Thread(target=go_on, args=(number,)) for number in range(4)]
    for each in callers:
        each.start()
    with ThreadPoolExecutor(80) as pool:
        refused = list(pool.map(lambda n: Caller(service.port).ask(signed(f"unknown-{n}")), range(80)))
    at_once = len(good)
    time.sleep(1)
    stopping.set()
    for each in callers:
        each.join()
    assert at_once > 20
    assert {status for status, _ in good} == {200}
    assert {status for status, _ in refused} == {503}
    assert all(wait is not None and 1 <= int(wait) <= 5 for _, wait in refused)
    assert issuer.connections <= 6, "one reading at a time of each worker, and not again at once"
    issuer.send = lambda connection: connection.sendall(response(key_set(jwk("a"), jwk("new", EC))))
    service.wait_until(lambda: {Caller(service.port).ask(signed("new", EC))[0] for _ in range(8)} == {200}, seconds=40)
    assert "the issuer's keys cannot be read" in service.log.read_text()
