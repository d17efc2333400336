"""What a token may say: any JSON in any claim and header is accepted only if it is what was expected, and never 500."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.settings import Settings
from model_service.auth import Principal, build_authenticator
from model_service.http.errors import HTTPError, InvalidTokenError

SECRET = "correct horse battery staple, 32+"  # noqa: S105  # of the tests alone
AUTHENTICATOR = build_authenticator(Settings(auth_secret=SECRET))  # type: ignore[arg-type]


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def signed(payload: str, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """Return a token with a valid signature, whatever it contains."""
    body = encoded(header.encode("utf-8", "surrogatepass")) + b"." + encoded(payload.encode("utf-8", "surrogatepass"))
    return (body + b"." + encoded(hmac.digest(SECRET.encode(), body, hashlib.sha256))).decode()


def claims(**changes: str) -> str:
    """Return the claims as JSON; `changes` are JSON texts."""
    good = {"iss": '"sluice"', "aud": '"sluice"', "sub": '"shop"', "exp": str(int(time.time()) + 600)}
    return "{" + ",".join(f'"{name}":{value}' for name, value in (good | changes).items()) + "}"


def admit(token: str) -> Principal:
    assert AUTHENTICATOR is not None
    return AUTHENTICATOR.authenticate(f"Bearer {token}", "predict", None)


def outcome(token: str) -> Principal | HTTPError:
    try:
        return admit(token)
    except HTTPError as refused:
        return refused


def test_the_tokens_that_this_file_makes_are_good_unless_changed() -> None:
    assert admit(signed(claims(scope='"predict"'))).subject == "shop"


DATE = "in seconds since 1970, a number from 0 to 253402300799; found"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("1" + "0" * 400, "a number out of this range"),
        ("1e400", "a number out of this range"),
        ("-1e400", "a number out of this range"),
        ("NaN", "a number out of this range"),
        ("Infinity", "a number out of this range"),
        ("-1", "a number out of this range"),
        ("1764000000000", "a number out of this range"),
        ('"4000000000"', "text"),
        ("true", "a boolean"),
        ("null", "null"),
        ("[4000000000]", "a list"),
        ("{}", "an object"),
    ],
)
def test_a_date_that_is_none_is_refused_with_what_was_expected(name: str, value: str, found: str) -> None:
    with pytest.raises(InvalidTokenError, match=f"expected {name} {DATE} {found}"):
        admit(signed(claims(scope='"predict"', **{name: value})))


@pytest.mark.parametrize("exp", ["4000000000", "4000000000.5", "4e9"])
def test_a_date_may_be_any_number_of_seconds(exp: str) -> None:
    assert admit(signed(claims(scope='"predict"', exp=exp))).expires >= 4_000_000_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sub": r'"a\u0000b"'}, r"control characters and unpaired surrogates; found U\+0000"),
        ({"sub": r'"a\nb"'}, r"found U\+000A"),
        ({"sub": r'"a\ud800"'}, r"found U\+D800"),
        ({"sub": r'"\udfffa"'}, r"found U\+DFFF"),
        ({"sub": r'"\u009b1m"'}, r"found U\+009B"),
        ({"models": "null"}, "expected models as a list of names, or no claim models for all models; found null"),
        ({"models": '"*"'}, "expected models as a list of names, or no claim models for all models; found text"),
        ({"models": "true"}, "found a boolean"),
        ({"models": '{"iris":1}'}, "found an object"),
        ({"models": '["iris",null]'}, "expected models as a list of names; found null in it"),
        ({"scope": "null"}, "expected scope as text, names separated by spaces; found null"),
        ({"scope": '["predict"]'}, "found a list"),
    ],
)
def test_a_claim_that_means_nothing_is_refused_and_never_means_all(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidTokenError, match=reason):
        admit(signed(claims(**({"scope": '"predict"'} | changes))))


def test_a_subject_in_any_script_is_taken() -> None:
    assert admit(signed(claims(scope='"predict"', sub=r'"Żółw 😀ə"'))).subject == "Żółw 😀ə"


@pytest.mark.parametrize(
    "token",
    [
        signed("[" * 5000),
        signed('{"a":' * 1000),
        signed(claims(a="[" * 2500 + "]" * 2500)),
        signed(claims(a="9" * 5000)),
        signed("null"),
        signed("[]"),
        signed(""),
        signed(claims(), '{"alg":["HS256"]}'),
        signed(claims(), '{"alg":{}}'),
        signed(claims(), '{"alg":null}'),
        signed(claims(), "[" * 3000),
        signed(claims(), '"HS256"'),
        signed(claims(), '{"alg":"HS256","crit":7}'),
        signed(claims(), '{"alg":"HS256","crit":["b64"],"b64":false}'),
        signed(claims(), '{"alg":"HS256","kid":{}}'),
        signed(claims(), r'{"alg":"HS256\ud800"}'),
    ],
)
def test_nested_huge_and_odd_tokens_are_refused_as_any_other(token: str) -> None:
    with pytest.raises(HTTPError) as refused:
        admit(token)
    assert refused.value.status in {401, 403}


TEXT = st.text(st.characters(), max_size=12)  # surrogates and control characters among them
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(), st.just(10**400), st.integers(0, 2**40), st.sampled_from([0, 1])
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
NAMES = ("exp", "nbf", "iat", "iss", "aud", "sub", "scope", "models", "jti")


def is_date(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 253_402_300_799


def well_formed(found: dict[str, Any]) -> bool:
    """Return whether claims are what the reference says: written here once more, without looking at the code."""
    subject, audience = found.get("sub"), found.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    return (
        all(is_date(found[name]) for name in ("exp", "nbf", "iat") if name in found)
        and "exp" in found
        and found.get("iss") == "sluice"
        and isinstance(audiences, list)
        and all(isinstance(each, str) for each in audiences)
        and "sluice" in audiences
        and isinstance(subject, str)
        and 0 < len(subject) <= 255
        and not any(ord(each) < 32 or 127 <= ord(each) < 160 or 0xD800 <= ord(each) < 0xE000 for each in subject)
        and isinstance(found.get("scope", ""), str)
        and ("models" not in found or isinstance(found["models"], list))
        and all(isinstance(each, str) for each in found.get("models", []))
    )


@settings(max_examples=400, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4),
    without=st.sets(st.sampled_from(NAMES), max_size=1),
)
def test_any_claims_are_accepted_only_if_they_are_well_formed(changes: dict[str, Any], without: set[str]) -> None:
    now = int(time.time())
    good = {"iss": "sluice", "aud": "sluice", "sub": "shop", "exp": now + 600, "scope": "predict"}
    found = {name: value for name, value in (good | changes).items() if name not in without}
    caller = outcome(signed(json.dumps(found)))
    if isinstance(caller, HTTPError):
        assert caller.status in {401, 403}
        assert all(value.isascii() for value in (str(caller), *caller.headers.values()))
        return
    assert well_formed(found)
    assert found["exp"] > now - 11
    assert found.get("nbf", 0) <= now + 11
    assert (caller.models is None) == ("models" not in found)


@settings(max_examples=300, deadline=None)
@given(header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku"]), ANYTHING))
def test_any_header_is_accepted_only_with_the_configured_algorithm(header: dict[str, Any]) -> None:
    found = outcome(signed(claims(scope='"predict"'), json.dumps(header)))
    if isinstance(found, HTTPError):
        assert found.status == 401
    else:
        assert header["alg"] == "HS256"


@settings(max_examples=300, deadline=None)
@given(
    token=st.one_of(
        st.binary(max_size=200).map(lambda each: each.decode("latin-1")),
        st.lists(st.binary(max_size=60), min_size=1, max_size=5).map(lambda p: b".".join(map(encoded, p)).decode()),
        TEXT,
    )
)
def test_any_text_in_the_place_of_a_token_is_401(token: str) -> None:
    with pytest.raises(HTTPError) as refused:
        admit(token)
    assert refused.value.status == 401
