"""Who may ask what, by which token: keys, claims, scopes, models, and what is remembered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from include.errors import SettingsError
from include.settings import Settings
from model_service import ModelRegistry, create_app
from model_service.auth import BearerAuthenticator, Principal, TokenCache, build_authenticator, check_exposure
from model_service.auth.invalid_tokens import InvalidTokenLimiter
from model_service.auth.jwks import FETCH_SECONDS
from model_service.auth.keys import REFRESH_SECONDS, WAIT_MARGIN, RotatingKeys
from model_service.auth.token_cache import MAX_SECONDS
from model_service.http.errors import (
    AuthenticationRequiredError,
    HTTPError,
    InvalidTokenError,
    JWKSUnavailableError,
    PermissionDeniedError,
    TooManyInvalidTokensError,
)

SECRET = "correct horse battery staple, 32+"  # noqa: S105  # of the tests alone
RSA = rsa.generate_private_key(65537, 2048)
RSA_2 = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def settled(both_ways: Any) -> Any:
    return both_ways


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "sluice", "aud": "sluice", "sub": "shop", "exp": now + 60, "iat": now, "scope": "predict models"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers=headers)


def authenticator(**settings: Any) -> BearerAuthenticator:
    opened = build_authenticator(Settings(**settings))
    assert opened is not None
    return opened


def admit(at: BearerAuthenticator, bearer: str, scope: str = "predict", model: str | None = "iris") -> Principal:
    return at.authenticate(f"Bearer {bearer}", scope, model)


@pytest.fixture
def shared() -> BearerAuthenticator:
    return authenticator(auth_secret=SECRET)


# -- claims ----------------------------------------------------------------------------------------


def test_a_good_token_says_who_asks(shared: BearerAuthenticator) -> None:
    caller = admit(shared, token())
    assert (caller.subject, caller.scopes, caller.models) == ("shop", {"predict", "models"}, None)


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub"])
def test_a_claim_that_is_missing_is_named(shared: BearerAuthenticator, claim: str) -> None:
    with pytest.raises(InvalidTokenError, match=f"the claim {claim} is missing"):
        admit(shared, token(**{claim: None}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1}, "has expired"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"iss": "somebody"}, "another issuer"),
        ({"aud": "elsewhere"}, "another audience"),
        ({"sub": 7}, "sub is not text"),
        ({"sub": ""}, "sub of 1 to 255 characters"),
        ({"sub": "s" * 256}, "sub of 1 to 255 characters"),
        ({"scope": ["predict"]}, "scope as text"),
        ({"models": "iris"}, "models as a list"),
        ({"models": [1]}, "models as a list"),
        ({"exp": "soon"}, "expected exp in seconds since 1970"),
    ],
)
def test_a_claim_that_is_wrong_is_refused_with_the_reason(
    shared: BearerAuthenticator, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidTokenError, match=reason):
        admit(shared, token(**changes))


def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    patient = authenticator(auth_secret=SECRET, auth_leeway_seconds=30)
    now = int(time.time())
    assert admit(patient, token(exp=now - 20)).expires == now + 10
    with pytest.raises(InvalidTokenError, match="expired"):
        admit(patient, token(exp=now - 40))


def test_the_leeway_is_bounded() -> None:
    with pytest.raises(ValueError, match="less than or equal to 120"):
        Settings(auth_leeway_seconds=3600)


# -- algorithms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bearer",
    [
        jwt.encode(claims(), None, "none"),
        jwt.encode(claims(), SECRET + "!", "HS256"),
        jwt.encode(claims(), SECRET * 2, "HS512"),
        jwt.encode(claims(), RSA, "RS256"),
        "a.b.c",
        "x",
        "é.é.é",
        "A" * 9000,
    ],
)
def test_another_key_algorithm_or_form_is_refused(shared: BearerAuthenticator, bearer: str) -> None:
    with pytest.raises(InvalidTokenError):
        admit(shared, bearer)


def pem(folder: Path, key: Any) -> Path:
    file = folder / "key.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return file


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_public_key_in_pem_verifies_with_its_own_algorithm_only(tmp_path: Path, key: Any, algorithm: str) -> None:
    public = authenticator(auth_public_key=pem(tmp_path, key))
    assert admit(public, token(key, algorithm)).subject == "shop"
    for other in ((RSA_2, "RS256"), (ec.generate_private_key(ec.SECP256R1()), "ES256"), (SECRET, "HS256")):
        with pytest.raises(InvalidTokenError):
            admit(public, token(*other))


def test_the_public_key_is_not_taken_as_a_shared_secret(tmp_path: Path) -> None:
    file = pem(tmp_path, RSA)
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    body = jwt.utils.base64url_encode(json.dumps(claims()).encode()).decode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{body}".encode(), file.read_bytes()
    )
    forged = f"{header}.{body}.{jwt.utils.base64url_encode(signature).decode()}"
    with pytest.raises(InvalidTokenError):
        admit(authenticator(auth_public_key=file), forged)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"auth_secret": "s" * 31}, "at least 32 bytes"),
        ({"auth_public_key": Path("/nowhere.pem")}, "PEM file with a public key"),
        ({"auth_jwks_url": "file:///etc/passwd"}, "http or https"),
        ({"auth_secret": SECRET, "auth_jwks_url": "http://x"}, "Unset all but one"),
    ],
)
def test_what_is_not_safe_is_refused_at_the_start(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        build_authenticator(Settings(**settings))


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505  # it is to be refused


@pytest.mark.parametrize("key", [WEAK, ec.generate_private_key(ec.SECP384R1())])
def test_a_weak_or_strange_public_key_is_refused_at_the_start(tmp_path: Path, key: Any) -> None:
    with pytest.raises(SettingsError, match="at least 2048 bits"):
        build_authenticator(Settings(auth_public_key=pem(tmp_path, key)))


def test_a_secret_is_not_shown_with_the_settings() -> None:
    assert SECRET not in repr(Settings(auth_secret=SECRET))


# -- an issuer whose keys rotate -------------------------------------------------------------------


class Issuer:
    """A server of a JWK Set, as an identity provider runs one."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.up = True
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200 if issuer.up else 503)
                self.end_headers()
                self.wfile.write(issuer.document() if issuer.up else b"down")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def document(self) -> bytes:
        keys = []
        for kid, key in self.keys.items():
            algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            keys.append(algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"})
        return json.dumps({"keys": keys}).encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


def signed(kid: str, key: Any = RSA, algorithm: str = "RS256", **changes: Any) -> str:
    return token(key, algorithm, {"kid": kid}, **changes)


def test_keys_of_a_set_verify_and_new_ones_are_found_when_the_issuer_rotates(issuer: Issuer) -> None:
    issuer.keys = {"old": RSA, "curve": EC}
    rotating = authenticator(auth_jwks_url=issuer.url, auth_jwks_cooldown_seconds=0)
    assert admit(rotating, signed("old")).subject == "shop"
    assert admit(rotating, signed("curve", EC, "ES256")).subject == "shop"
    assert issuer.asked == 1
    issuer.keys = {"new": RSA_2}
    assert admit(rotating, signed("new", RSA_2)).subject == "shop"
    assert issuer.asked == 2
    with pytest.raises(InvalidTokenError, match="not among the issuer's keys"):
        admit(rotating, signed("old", sub="somebody else"))


def test_made_up_key_ids_do_not_make_us_call_the_issuer(issuer: Issuer) -> None:
    issuer.keys = {"a": RSA}
    rotating = authenticator(auth_jwks_url=issuer.url, auth_jwks_cooldown_seconds=30)
    for attempt in range(50):
        with pytest.raises(InvalidTokenError):
            admit(rotating, signed(f"made-up-{attempt}"))
    assert issuer.asked == 1
    assert admit(rotating, signed("a")).subject == "shop"


def test_the_key_of_another_id_does_not_verify(issuer: Issuer) -> None:
    issuer.keys = {"a": RSA, "b": RSA_2}
    rotating = authenticator(auth_jwks_url=issuer.url, auth_jwks_cooldown_seconds=0)
    for bearer in (signed("b"), token(RSA, "RS256"), token(SECRET, "HS256", {"kid": "a"}), signed("a", EC, "ES256")):
        with pytest.raises(InvalidTokenError):
            admit(rotating, bearer)


def test_with_the_issuer_down_known_keys_and_known_tokens_go_on_and_it_is_asked_rarely(issuer: Issuer) -> None:
    issuer.keys = {"a": RSA}
    rotating = authenticator(auth_jwks_url=issuer.url, auth_jwks_cooldown_seconds=0.5)
    known = signed("a")
    admit(rotating, known)
    issuer.up = False
    time.sleep(0.6)
    asked = issuer.asked
    for attempt in range(20):
        with pytest.raises(JWKSUnavailableError):
            admit(rotating, signed(f"new-{attempt}", RSA_2))
    assert issuer.asked <= asked + 2
    assert admit(rotating, known).subject == admit(rotating, signed("a", jti="another")).subject == "shop"
    issuer.up, issuer.keys = True, {"a": RSA, "new": RSA_2}
    time.sleep(0.6)
    assert admit(rotating, signed("new", RSA_2)).subject == "shop"


def test_a_key_that_is_withdrawn_is_good_for_five_minutes_at_most(issuer: Issuer) -> None:
    assert REFRESH_SECONDS + FETCH_SECONDS + WAIT_MARGIN + MAX_SECONDS < 300
    issuer.keys = {"withdrawn": RSA, "kept": RSA_2}
    keys = RotatingKeys(issuer.url, cooldown=0, refresh=0.3)
    assert keys.key_of(signed("withdrawn"))
    issuer.keys = {"kept": RSA_2}
    asked = issuer.asked
    wait_for(lambda: issuer.asked >= asked + 2)  # without a request in between
    with pytest.raises(jwt.PyJWKClientError):
        keys.key_of(signed("withdrawn"))
    assert keys.key_of(signed("kept", RSA_2))


def test_while_the_issuer_is_down_known_keys_are_used_up_to_their_maximum_age(issuer: Issuer) -> None:
    issuer.keys = {"a": RSA}
    keys = RotatingKeys(issuer.url, cooldown=0.1, max_age=2.5, refresh=0.1)
    keys.start()
    issuer.up = False
    asked = issuer.asked
    wait_for(lambda: issuer.asked >= asked + 2)
    assert keys.key_of(signed("a"))
    time.sleep(2.5)
    with pytest.raises(JWKSUnavailableError):
        keys.key_of(signed("a"))
    issuer.up = True
    asked = issuer.asked
    wait_for(lambda: issuer.asked >= asked + 2)
    assert keys.key_of(signed("a"))


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_issuer_that_was_never_reached_is_503_and_not_asked_on_and_on(issuer: Issuer) -> None:
    issuer.up = False
    rotating = authenticator(auth_jwks_url=issuer.url, auth_jwks_cooldown_seconds=30)
    for _ in range(20):
        with pytest.raises(JWKSUnavailableError):
            admit(rotating, signed("a"))
    assert issuer.asked == 1


# -- what is remembered ----------------------------------------------------------------------------


@given(
    tokens=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1000), min_size=1),
    asked=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 200)), max_size=60),
    most=st.integers(1, 5),
)
def test_what_is_remembered_answers_as_verifying_would_and_is_bounded(
    tokens: dict[str, float], asked: list[tuple[str, float]], most: int
) -> None:
    now = 0.0

    def verify(bearer: str) -> Principal:
        if bearer not in tokens or now >= tokens[bearer]:
            raise InvalidTokenError("no")
        return Principal(bearer, frozenset(), None, tokens[bearer])

    def outcome(ask: Any, bearer: str) -> Principal | None:
        try:
            return ask(bearer)
        except InvalidTokenError:
            return None

    remembered = TokenCache(verify, most, lambda: now)
    for bearer, later in asked:
        now += later
        assert outcome(remembered.principal_of, bearer) == outcome(verify, bearer)
        assert len(remembered) <= most


def test_a_token_is_verified_once_and_again_when_its_key_may_have_been_withdrawn() -> None:
    clock, verified = [0.0], []

    def verify(bearer: str) -> Principal:
        verified.append(bearer)
        return Principal("shop", frozenset(), None, 86_400)

    remembered = TokenCache(verify, clock=lambda: clock[0])
    for clock[0] in (0.0, 1.0, 59.0):
        remembered.principal_of("a")
    assert verified == ["a"]
    clock[0] = 61.0
    remembered.principal_of("a")
    assert verified == ["a", "a"]


def test_very_long_tokens_are_not_kept() -> None:
    remembered = TokenCache(lambda _: Principal("shop", frozenset(), None, 1e12))
    remembered.principal_of("a" * 5000)
    assert len(remembered) == 0


# -- invalid tokens of one address -----------------------------------------------------------------


def many_invalid(at: BearerAuthenticator, address: str, count: int) -> list[int]:
    statuses = []
    for number in range(count):
        with pytest.raises(HTTPError) as refused:
            at.authenticate(f"Bearer {token(SECRET + '!', jti=str(number))}", "predict", None, address)
        statuses.append(refused.value.status)
    return statuses


def test_invalid_tokens_of_an_address_are_verified_up_to_a_limit() -> None:
    clock = [100.0]
    at = authenticator(auth_secret=SECRET, auth_invalid_token_rate_limit=20, service_workers=2)
    at._invalid_tokens._clock = lambda: clock[0]
    verified: list[str] = []
    verify = at._tokens._verify
    at._tokens._verify = lambda bearer: verified.append(bearer) or verify(bearer)
    assert many_invalid(at, "192.0.2.1", 1000) == [401] * 10 + [429] * 990, "half of the limit on each of two workers"
    assert len(verified) == 10
    assert many_invalid(at, "192.0.2.2", 1) == [401], "another address is not concerned"
    assert many_invalid(at, "2001:db8::1", 10) + many_invalid(at, "2001:db8::2", 1) == [401] * 10 + [429]
    assert many_invalid(at, "2001:db8:0:1::1", 1) == [401]
    clock[0] += 1.0
    assert many_invalid(at, "192.0.2.1", 1) == [401]


def test_a_flood_of_invalid_tokens_concerns_no_token_that_was_valid_before() -> None:
    at = authenticator(auth_secret=SECRET, auth_invalid_token_rate_limit=1)
    known, new = token(jti="known"), token(jti="new")
    at.authenticate(f"Bearer {known}", "predict", None, "192.0.2.1")
    at._tokens._clock = lambda: time.time() + MAX_SECONDS + 1  # it must be verified again
    many_invalid(at, "192.0.2.1", 3)
    assert at.authenticate(f"Bearer {known}", "predict", None, "192.0.2.1").subject == "shop"
    with pytest.raises(TooManyInvalidTokensError) as refused:
        at.authenticate(f"Bearer {new}", "predict", None, "192.0.2.1")
    assert refused.value.headers["Retry-After"] == "1"
    assert "SLUICE_AUTH_INVALID_TOKEN_RATE_LIMIT" in str(refused.value)
    assert at.authenticate(f"Bearer {new}", "predict", None, "192.0.2.2").subject == "shop"


def test_a_token_that_has_expired_is_no_longer_one_that_was_valid_before() -> None:
    at = authenticator(auth_secret=SECRET, auth_leeway_seconds=0, auth_invalid_token_rate_limit=1)
    short = token(exp=int(time.time()) + 2)
    at.authenticate(f"Bearer {short}", "predict", None, "192.0.2.1")
    time.sleep(2.1)
    statuses = []
    for _ in range(5):
        with pytest.raises(HTTPError) as refused:
            at.authenticate(f"Bearer {short}", "predict", None, "192.0.2.1")
        statuses.append(refused.value.status)
    assert statuses == [401, 429, 429, 429, 429]


def test_the_addresses_that_are_counted_are_bounded() -> None:
    limiter = InvalidTokenLimiter(10, clock=lambda: 0.0, max_addresses=100)
    for number in range(10_000):
        limiter.add(f"10.0.{number // 256}.{number % 256}")
    assert len(limiter) == 100


def test_a_limit_of_zero_is_none() -> None:
    at = authenticator(auth_secret=SECRET, auth_invalid_token_rate_limit=0)
    assert set(many_invalid(at, "192.0.2.1", 300)) == {401}


# -- scopes and models -----------------------------------------------------------------------------


def test_a_token_is_good_for_its_scopes_and_models_only(shared: BearerAuthenticator) -> None:
    narrow = token(scope="predict", models=["iris"])
    assert admit(shared, narrow, "predict", "iris")
    assert admit(shared, narrow, "predict", None)
    for scope, model in (("scores", "iris"), ("predict", "trip"), ("models", None), ("undeclared", None)):
        with pytest.raises(PermissionDeniedError):
            admit(shared, narrow, scope, model)
    with pytest.raises(PermissionDeniedError):
        admit(shared, token(scope="predict", models=[]))


@pytest.mark.parametrize("header", [None, "", "Basic dTpw", "bearer", "Token abc"])
def test_without_a_bearer_token_none_is_seen(shared: BearerAuthenticator, header: str | None) -> None:
    with pytest.raises(AuthenticationRequiredError):
        shared.authenticate(header, "predict", "iris")


def test_the_name_of_the_scheme_may_be_written_in_any_case(shared: BearerAuthenticator) -> None:
    assert shared.authenticate(f"bEARER  {token()} ", "predict", "iris").subject == "shop"


# -- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(settled: Any) -> Any:
    settings = settled.harness.settings.model_copy(update={"auth_secret": Settings(auth_secret=SECRET).auth_secret})
    return create_app(settings, settled.registry, settled.harness.engine).test_client()


def ask(client: Any, path: str, bearer: str | None, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return client.post(path, json=body, headers=headers) if body else client.get(path, headers=headers)


def test_a_prediction_needs_a_token(guarded: Any) -> None:
    features = [5.1, 3.5, 1.4, 0.2]
    refused = ask(guarded, "/predict", None, features=features)
    assert (refused.status_code, refused.content_type) == (401, "application/problem+json")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="sluice"'
    expired = ask(guarded, "/predict", token(exp=1), features=features)
    assert expired.status_code == 401
    assert expired.headers["WWW-Authenticate"] == (
        'Bearer realm="sluice", error="invalid_token", error_description="it has expired"'
    )
    assert ask(guarded, "/predict", token(), features=features).status_code == 200


def test_a_token_for_other_things_is_403_with_the_scope_that_is_needed(guarded: Any) -> None:
    refused = ask(guarded, "/v1/models/iris/scores/1", token())
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="scores"' in refused.headers["WWW-Authenticate"]
    other = token(models=["trip"])
    for path in ("/predict", "/v1/models/iris/predict"):
        assert ask(guarded, path, other, features=[1, 1, 1, 1]).status_code == 403


def test_a_default_model_is_held_against_the_claim_as_if_it_were_named(guarded: Any) -> None:
    assert ask(guarded, "/predict", token(models=["iris"]), features=[1, 1, 1, 1]).status_code == 200


def test_probes_need_no_token_and_a_path_that_is_none_is_404(guarded: Any) -> None:
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/ready").status_code == 200
    assert guarded.get("/nowhere").status_code == 404


def test_every_route_says_what_it_asks_for() -> None:
    app = create_app(Settings(auth_secret=SECRET), ModelRegistry())
    silent = [rule for rule in app.url_map.iter_rules() if not hasattr(app.view_functions[rule.endpoint], "scope")]
    assert not silent


OPEN = {"/health", "/ready", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/docs"}


def test_only_probes_and_the_description_are_open() -> None:
    app = create_app(Settings(auth_secret=SECRET), ModelRegistry())
    scopes = {rule.rule: getattr(app.view_functions[rule.endpoint], "scope", None) for rule in app.url_map.iter_rules()}
    assert {rule for rule, scope in scopes.items() if scope == "open"} == OPEN
    assert set(scopes.values()) <= {"open", "predict", "scores", "models", "metrics"}


# -- where it listens ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sluice.example.com"])  # noqa: S104  # refused
def test_without_authentication_it_refuses_any_address_but_loopback(host: str) -> None:
    with pytest.raises(SettingsError, match="SLUICE_SERVICE_HOST: expected a loopback address"):
        check_exposure(Settings(service_host=host))
    check_exposure(Settings(service_host=host, auth_secret=SECRET))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_authentication_on_loopback_it_says_so(host: str, caplog: pytest.LogCaptureFixture) -> None:
    check_exposure(Settings(service_host=host))
    assert "no authentication is configured" in caplog.text


def test_the_open_inference_protocol_refuses_in_its_own_form(guarded: Any) -> None:
    for path, bearer, status in (
        ("/v2/models/iris/infer", None, 401),
        ("/v2/models/iris/infer", token(exp=1), 401),
        ("/v2/models/iris/infer", token(scope="models"), 403),
        ("/v2/models/trip/infer", token(models=["iris"]), 403),
    ):
        refused = ask(guarded, path, bearer, inputs=[])
        assert refused.status_code == status
        assert list(refused.get_json()) == ["error"]
        assert refused.headers["WWW-Authenticate"].startswith('Bearer realm="sluice"')
    assert guarded.get("/v2/health/live").status_code == 200
    assert guarded.get("/v2/models/iris").status_code == 401


@pytest.mark.parametrize("path", ["/v1/models/trip/predict", "/v1/models/trip/versions/1/predict", "/v1/models/trip"])
def test_a_claim_for_one_model_opens_no_other_however_it_is_asked(guarded: Any, path: str) -> None:
    body = {"features": {}} if path.endswith("predict") else {}
    assert ask(guarded, path, token(models=["iris"]), **body).status_code == 403


def test_a_list_of_models_shows_those_that_the_token_is_for(guarded: Any) -> None:
    def named(bearer: str) -> list[str]:
        return [each["name"] for each in ask(guarded, "/v1/models", bearer).get_json()["models"]]

    assert named(token(models=["iris"])) == ["iris"]
    assert named(token(models=[])) == []
    assert set(named(token())) > {"iris", "trip"}


# -- /ready: open to load balancers, and its faults to who may see them ----------------------------


NOT_LOADED = {
    "state": "load_failed",
    "message": "the champion, version 1, could not be loaded",
    "version": None,
    "champion": 1,
}


@pytest.fixture(scope="module")
def faulty(settled: Any) -> ModelRegistry:
    """A registry of two models that could not be loaded, with invalid declarations and an unavailable ledger."""
    registry = ModelRegistry()
    registry.sync({}, {"iris": "/srv/models/iris/spec.py: no such word", "trip": "/srv/models/trip/spec.py: nor here"})
    registry.ledger_error = "connection to server at db.internal, port 5432, user sluice failed"
    for name in ("iris", "trip"):
        registry[name].champion = settled.registry[name].champion
        registry[name].champion_known = True
        registry[name].load_error = f"/srv/artifacts/{name}/1/model.onnx: expected SHA-256 abc"
    registry["trip"].current = settled.registry["trip"].current
    return registry


def readiness(faulty: ModelRegistry, settled: Any, authorization: str | None, **changes: Any) -> Any:
    settings = settled.harness.settings.model_copy(
        update={"auth_secret": Settings(auth_secret=SECRET).auth_secret, **changes}
    )
    client = create_app(settings, faulty, settled.harness.engine).test_client()
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.get("/ready", headers=headers)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic dTpw",
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        f"Bearer {token(exp=1)}",
        f"Bearer {token(SECRET + '!')}",
        f"Bearer {token(scope='predict scores metrics')}",
    ],
)
def test_without_a_good_token_readiness_tells_states_and_versions_and_no_fault(
    faulty: ModelRegistry, settled: Any, authorization: str | None
) -> None:
    answer = readiness(faulty, settled, authorization)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.get_json() == {
        "ready": False,
        "models": {
            "iris": NOT_LOADED,
            "trip": {
                "state": "serving",
                "message": "serving the champion, version 1",
                "version": 1,
                "champion": 1,
            },
        },
    }


def test_with_a_token_for_models_readiness_tells_what_it_tells_where_nobody_needs_one(
    faulty: ModelRegistry, settled: Any
) -> None:
    told = readiness(faulty, settled, f"Bearer {token(scope='models')}")
    unguarded = readiness(faulty, settled, None, auth_secret=None)
    assert told.status_code == unguarded.status_code == 503
    assert told.get_json() == unguarded.get_json()
    assert told.get_json()["models"]["iris"]["load_error"] == faulty["iris"].load_error
    assert told.get_json()["ledger_error"] == faulty.ledger_error
    assert told.get_json()["invalid_specs"] == faulty.invalid_specs


def test_of_models_that_a_token_is_not_for_readiness_tells_no_fault(faulty: ModelRegistry, settled: Any) -> None:
    told = readiness(faulty, settled, f"Bearer {token(models=['trip'])}").get_json()
    assert told["models"]["iris"] == NOT_LOADED
    assert told["models"]["trip"]["load_error"] == faulty["trip"].load_error
    assert set(told["invalid_specs"]) == {"trip"}


def test_readiness_is_told_while_the_issuers_keys_cannot_be_had(
    faulty: ModelRegistry, settled: Any, issuer: Issuer
) -> None:
    issuer.up = False
    answer = readiness(faulty, settled, f"Bearer {signed('a')}", auth_secret=None, auth_jwks_url=issuer.url)
    assert answer.status_code == 503
    assert set(answer.get_json()) == {"ready", "models"}
    assert issuer.asked == 1


# -- as it really runs -----------------------------------------------------------------------------


def test_it_does_not_start_where_others_reach_it_without_asking_for_tokens(
    harness: Any, run_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_HOST", "0.0.0.0")  # noqa: S104  # it is to refuse
    service = run_service()
    assert service.process.wait(timeout=30) == 1
    assert "SLUICE_SERVICE_HOST: expected a loopback address" in service.log.read_text()


def test_it_does_not_start_with_a_short_secret(harness: Any, run_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_AUTH_SECRET", "short")
    service = run_service()
    assert service.process.wait(timeout=30) == 1
    assert "SLUICE_AUTH_SECRET: expected at least 32 bytes" in service.log.read_text()
    assert "short" not in service.log.read_text().replace("a shorter", "")


def test_running_with_a_secret_it_asks_for_tokens_on_every_address(
    harness: Any, run_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_AUTH_SECRET", SECRET)
    monkeypatch.setenv("SLUICE_SERVICE_HOST", "0.0.0.0")  # noqa: S104  # with tokens it may
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    assert service.ask("POST", "/predict", {"features": [5.1, 3.5, 1.4, 0.2]})[0] == 401
    assert service.ask("GET", "/metrics")[0] == 401
    log = service.log.read_text()
    assert "no authentication is configured" not in log
    assert SECRET not in log
