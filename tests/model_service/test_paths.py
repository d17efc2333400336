"""Paths that lead nowhere, and the description of a service with many models."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from include.settings import Settings
from model_service import ModelRegistry, create_app


@pytest.fixture(scope="module")
def client(settled: Any) -> FlaskClient:
    return settled.client


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/v1//models",
        "/v1/models/iris//predict",
        "/v1/models/",
        "/v1/models/../models",
        "/v1/../health",
        "/%2Fv1/models",
        "/v1%2F%2Fmodels",
        "/v1/models/%2E%2E/health",
        "//evil.example/v1/models",
        "/v2//models/iris/infer",
        "//",
    ],
)
def test_a_path_that_is_none_is_404_and_never_a_redirection(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(
        "/", method=method, headers={"Host": "evil.example"}, environ_overrides={"PATH_INFO": _decoded(path)}
    )
    assert response.status_code == 404
    assert "Location" not in response.headers
    assert "http" not in response.get_data(as_text=True)
    assert set(response.get_json()) >= ({"error"} if path.startswith("/v2") else {"type", "detail", "status"})


def _decoded(path: str) -> str:
    return path.replace("%2F", "/").replace("%2E", ".")


def test_no_route_redirects(client: FlaskClient) -> None:
    rules = list(client.application.url_map.iter_rules())
    assert not any(rule.rule.endswith("/") or rule.redirect_to for rule in rules)
    assert not client.application.url_map.merge_slashes


def test_the_service_as_it_really_runs_redirects_nothing(harness: Any, run_service: Callable[..., Any]) -> None:
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    for path in ("//v1/models", "/%2Fv1/models", "/v1/..%2Fhealth", "/v1//models"):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("GET", path, headers={"Host": "evil.example"})
        response = connection.getresponse()
        assert (response.status, response.getheader("Location")) == (404, None), path
        assert response.getheader("Content-Type") == "application/problem+json"
        connection.close()


# -- /openapi.json ---------------------------------------------------------------------------------


def test_one_model_is_described_alone(client: FlaskClient) -> None:
    paths = client.get("/openapi.json?model=trip").get_json()["paths"]
    assert "/v1/models/trip/predict" in paths
    assert "/v1/models/iris/predict" not in paths
    assert client.get("/openapi.json?model=irs").status_code == 404
    assert client.get("/openapi.json?modle=iris").status_code == 400
    assert "trip" in client.get("/docs?model=trip").get_data(as_text=True)


def test_the_description_is_sent_again_only_if_it_changed(client: FlaskClient) -> None:
    first = client.get("/openapi.json")
    tag = first.headers["ETag"]
    again = client.get("/openapi.json", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get("/openapi.json?model=iris", headers={"If-None-Match": tag}).status_code == 200


def test_the_description_is_compressed_for_who_takes_that(client: FlaskClient) -> None:
    plain = client.get("/openapi.json")
    packed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 5
    assert packed.headers["ETag"] == plain.headers["ETag"]


def test_a_model_that_the_caller_may_not_see_is_unknown(tmp_path: Any) -> None:
    settings = Settings(home=tmp_path, auth_secret="correct horse battery staple, 32+")  # noqa: S106  # of this test
    client = create_app(settings, ModelRegistry(["iris"])).test_client()
    assert client.get("/openapi.json").status_code == 200
    response = client.get("/openapi.json?model=iris")
    assert response.status_code == 404
    assert response.get_json()["declared"] == []
