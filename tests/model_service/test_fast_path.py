"""Two ways of answering, one answer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from include.settings import Settings
from model_service import create_app
from model_service.http.fast_path import FastPathMiddleware

SECRET = "a secret of tests, which is at least 32 bytes"  # noqa: S105  # guards nothing
FLOWER = [5.1, 3.5, 1.4, 0.2]
TENSOR = {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": FLOWER}
OF_THE_MOMENT = re.compile(rb'"(timestamp|request_id)":"[^"]*"')


def token(**claims: Any) -> dict[str, str]:
    plain = {"iss": "sluice", "aud": "sluice", "sub": "tests", "exp": 4_000_000_000, "scope": "predict"}
    return {"Authorization": "Bearer " + jwt.encode(plain | claims, SECRET, algorithm="HS256")}


def features(value: Any) -> bytes:
    return json.dumps({"features": value}).encode()


def tensors(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "one row": ("/predict", features(FLOWER), {}),
    "many rows": ("/v1/models/iris/predict", features([FLOWER] * 3), {}),
    "a version": ("/v1/models/iris/versions/1/predict", features(FLOWER), {}),
    "a caller's id and trace": (
        "/predict",
        features(FLOWER),
        {"X-Request-ID": "order-17", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    ),
    "a refused row with id and trace": (
        "/predict",
        features([1]),
        {"X-Request-ID": "order-18", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    ),
    "tensors": ("/v2/models/iris/infer", tensors(TENSOR, id="7"), {}),
    "tensors of a version": ("/v2/models/iris/versions/1/infer", tensors(TENSOR), {}),
    "tensors answered in binary": (
        "/v2/models/iris/infer",
        tensors(TENSOR, parameters={"binary_data_output": True}),
        {"Accept-Encoding": "gzip"},
    ),
    "packed tensors": ("/v2/models/iris/infer", gzip.compress(tensors(TENSOR)), {"Content-Encoding": "gzip"}),
    "another packing": ("/v2/models/iris/infer", tensors(TENSOR), {"Content-Encoding": "br"}),
    "no tensors": ("/v2/models/iris/infer", b"{", {}),
    "no JSON": ("/predict", b"{", {}),
    "no body": ("/predict", b"", {}),
    "doubled members": ("/predict", b'{"features": [1], "features": [2]}', {}),
    "values that do not fit": ("/predict", features([5.1, "x", None, 1e9]), {}),
    "too deep": ("/predict", b"[" * 1000, {}),
    "too many rows": ("/predict", features([FLOWER] * 10_001), {}),
    "no such model": ("/v1/models/irs/predict", features(FLOWER), {}),
    "no such model of tensors": ("/v2/models/irs/infer", tensors(TENSOR), {}),
    "no such version": ("/v1/models/iris/versions/99/predict", features(FLOWER), {}),
    "no champion": ("/v1/models/empty_one/predict", features(FLOWER), {}),
    "a name beyond ASCII": ("/v1/models/írís/predict", features(FLOWER), {}),
    "an encoded slash": ("/v1/models/a%2Fb/predict", features(FLOWER), {}),
    "a path that is none": ("/v1/models//predict", features(FLOWER), {}),
    "another path": ("/v1/models/iris", b"", {}),
    "no token": ("/predict", features(FLOWER), {"Authorization": ""}),
    "a broken token": ("/predict", features(FLOWER), {"Authorization": "Bearer x"}),
    "an old token": ("/predict", features(FLOWER), token(exp=1)),
    "another scope": ("/predict", features(FLOWER), token(scope="scores")),
    "a token for another model": ("/v2/models/iris/infer", tensors(TENSOR), token(models=["trip"])),
    "a token for the default model": ("/predict", features(FLOWER), token(models=["iris"])),
    "a token for other than the default model": ("/predict", features(FLOWER), token(models=["trip"])),
}


@pytest.fixture(scope="module")
def app_of(settled: Any) -> Callable[..., Flask]:
    def app(**changes: Any) -> Flask:
        changes = {"auth_secret": Settings(auth_secret=SECRET).auth_secret, **changes}
        return create_app(settled.harness.settings.model_copy(update=changes), settled.registry, settled.harness.engine)

    return app


@pytest.fixture(scope="module")
def ways(app_of: Callable[..., Flask]) -> tuple[Flask, Flask]:
    """The fast path, and Flask's."""
    return app_of(service_fast_path=True), app_of(service_fast_path=False)


def answer_of(app: Flask, path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> Any:
    asked = token() | headers
    environ = EnvironBuilder(path, method=method, data=body, headers=asked).get_environ()
    chunks, status, answered = run_wsgi_app(app, environ)
    plain = OF_THE_MOMENT.sub(rb'"\1":""', b"".join(chunks))
    shown = [(name, "..." if name == "X-Request-ID" and len(value) == 32 else value) for name, value in answered]
    return status, shown, plain


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_to_the_byte_the_same_headers_in_the_same_order(ways: tuple[Flask, Flask], name: str) -> None:
    fast_path, flask = (answer_of(app, *REQUESTS[name]) for app in ways)
    assert fast_path == flask


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS"])
def test_other_methods_are_flasks(ways: tuple[Flask, Flask], method: str) -> None:
    fast_path, flask = (answer_of(app, "/predict", b"", {}, method) for app in ways)
    assert fast_path == flask


@pytest.mark.parametrize("path", ["/predict", "/v1/models/iris/predict", "/v1/models/iris/versions/1/predict"])
def test_predictions_never_reach_flask_and_the_rest_does(app_of: Callable[..., Flask], path: str) -> None:
    app = app_of()
    fast_path = app.wsgi_app
    assert isinstance(fast_path, FastPathMiddleware)
    fast_path._flask = lambda _environ, _start: pytest.fail("it reached Flask's dispatcher")
    assert answer_of(app, path, features(FLOWER), {})[0] == "200 OK"
    with pytest.raises(pytest.fail.Exception):
        answer_of(app, "/v1/models", b"", {}, "GET")


def test_a_fault_of_our_own_is_the_same_500_on_both_ways(
    ways: tuple[Flask, Flask], settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled.registry["iris"].current, "encoder", None)
    fast_path, flask = (answer_of(app, "/predict", features(FLOWER), {}) for app in ways)
    assert fast_path == flask
    assert fast_path[0].startswith("500")


def test_what_is_refused_for_want_of_room_is_the_same_on_both_ways(app_of: Callable[..., Flask]) -> None:
    for limit in ({"service_rate_limit": 0.001, "service_rate_limit_burst": 1, "service_workers": 1},):
        apps = [app_of(service_fast_path=fast_path, **limit) for fast_path in (True, False)]
        first = [answer_of(app, "/predict", features(FLOWER), {})[0] for app in apps]
        second = [answer_of(app, "/predict", features(FLOWER), {}) for app in apps]
        assert first == ["200 OK"] * 2
        assert second[0][0].startswith("429")
        assert [name for name, _ in second[0][1]] == [name for name, _ in second[1][1]]


def test_paths_that_anybody_makes_up_do_not_fill_the_memory(app_of: Callable[..., Flask]) -> None:
    app = app_of()
    for number in range(1_200):
        answer_of(app, f"/v1/models/m{number}/predict", features(FLOWER), {})
    fast_path = app.wsgi_app
    assert isinstance(fast_path, FastPathMiddleware)
    assert len(fast_path._matches) <= 1_000
    assert answer_of(app, "/v1/models/iris/predict", features(FLOWER), {})[0] == "200 OK"
