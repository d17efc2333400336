"""The description and the service say the same: schemathesis asks all that the description allows, and more."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import jwt
import pytest
import schemathesis
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from include.settings import Settings
from model_service import ModelRegistry, create_app
from model_service.openapi.document import path_of

MODELS = ("iris", "trip", "sugar")
SECRET = "correct horse battery staple, 32+"  # noqa: S105  # of the tests alone


@pytest.fixture(scope="module")
def settled(settled: Any) -> Iterator[Any]:
    """The settled service with room for as many jobs as are thought of: nobody works them off here."""
    room = dict.fromkeys(
        (name for name in Settings.model_fields if re.match("service_job_(queue|storage|hourly)", name)), 10**9
    )
    settings = settled.harness.settings.model_copy(update=room)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_service.app.JOB_SECONDS", 60.0)
        client = create_app(settings, settled.registry, settled.harness.engine).test_client()
        yield replace(settled, harness=replace(settled.harness, settings=settings), client=client)


@pytest.fixture(scope="module")
def client(settled: Any) -> FlaskClient:
    return settled.client


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> Any:
    return client.get("/openapi.json").get_json()


def routes(app: Any) -> set[tuple[str, str]]:
    return {
        (path_of(rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_every_description_has_its_route(client: FlaskClient, document: Any) -> None:
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    real = routes(client.application)
    assert real <= described
    of_a_model = {(re.sub(rf"/models/({'|'.join(MODELS)})/", "/models/{name}/", path), m) for path, m in described}
    assert of_a_model == real


def test_without_a_model_in_memory_every_route_is_described_all_the_same() -> None:
    app = create_app(Settings(), ModelRegistry(["iris"]))
    paths = app.test_client().get("/openapi.json").get_json()["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == routes(app)


def test_a_loaded_model_has_its_own_description_from_its_signature(document: Any) -> None:
    body = document["paths"]["/v1/models/trip/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    by_name, in_order = body["properties"]["features"]["anyOf"][0]["anyOf"]
    assert by_name["properties"]["carrier"] == {"enum": ["AA", "BB", "CC"]}
    assert by_name["required"] == ["distance", "carrier", "weekend"]
    assert len(in_order["prefixItems"]) == 3
    assert document["paths"]["/predict"]["post"]["summary"].endswith("'iris'")


@pytest.mark.parametrize("name", MODELS)
def test_the_example_of_a_job_is_a_job(settled: Any, document: Any, name: str) -> None:
    operation = document["paths"][f"/v1/models/{name}/predict_async"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    Draft202012Validator(body["schema"]).validate(body["example"])
    accepted = settled.client.post(f"/v1/models/{name}/predict_async", json=body["example"])
    assert accepted.status_code == 202
    described = operation["responses"]["202"]
    assert described["headers"]["Location"]["required"]
    operations = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert {each["operationId"] for each in described["links"].values()} <= operations
    assert settled.client.delete(accepted.headers["Location"]).status_code == 200


def test_headers_that_say_what_to_do_next_are_described(settled: Any) -> None:
    app, headers = asking_for_tokens(settled)
    paths = app.test_client().get("/openapi.json", headers=headers).get_json()["paths"]
    answers = paths["/predict"]["post"]["responses"]
    for status, name in (
        ("401", "WWW-Authenticate"),
        ("403", "WWW-Authenticate"),
        ("429", "Retry-After"),
        ("503", "Retry-After"),
    ):
        assert answers[status]["headers"][name]["required"]


def test_schemas_are_schemas_and_references_lead_somewhere(document: Any) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    text = str(document)
    assert {name.rsplit("/", 1)[1] for name in re.findall(r"#/components/schemas/\w+", text)} <= set(schemas)
    operations = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(operations) == len(set(operations))


def test_the_docs_page_tells_of_every_route_and_loads_nothing(client: FlaskClient, document: Any) -> None:
    response = client.get("/docs")

    class Links(HTMLParser):
        found: list[str] = []  # noqa: RUF012  # one parser, one list

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
            assert tag not in {"script", "link", "img", "iframe"}

    Links().feed(response.text)
    assert set(Links.found) <= {"/openapi.json"} | {f"#{name}" for name in document["components"]["schemas"]}
    assert all(path in response.text for path in document["paths"])
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def faults_found(
    app: Any, examples: int, seed: int = 1, **headers: str
) -> tuple[list[str], Counter[str], set[tuple[str, int]]]:
    """Run every phase of schemathesis with `headers`.

    Returns what failed, how many requests each phase made, and which statuses which operations answered.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "workers": 1,
            "headers": {"Accept-Encoding": "identity", **headers},  # its client in this process unpacks nothing
            "generation": {"max-examples": examples, "database": "none"},
            # 503 is what a declared model without a champion answers, as it is described.
            # How its client asks a WSGI application without a token is broken (4.32): a test of ours asks so below.
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", 503]},
                "ignored_auth": {"enabled": False},
            },
        }
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, config=config, headers=headers)
    faults: list[str] = []
    asked: Counter[str] = Counter()
    answered: set[tuple[str, int]] = set()
    for event in from_schema(schema).execute():
        if isinstance(event, FatalError):
            raise event.exception
        if isinstance(event, NonFatalError):
            faults.append(f"{event.phase} {event.label}: {event.value!r}")
        if isinstance(event, ScenarioFinished):
            asked[event.phase.value] += len(event.recorder.interactions)
            faults += _faults_in(event.recorder) + _unexplained_503s(event.recorder)
            answered |= _answers_in(event.recorder)
    return faults, asked, answered


def _answers_in(recorder: Any) -> set[tuple[str, int]]:
    return {
        (recorder.cases[case].value.operation.label, interaction.response.status_code)
        for case, interaction in recorder.interactions.items()
        if interaction.response is not None
    }


def _faults_in(recorder: Any) -> list[str]:
    faults = []
    for case, checks in recorder.checks.items():
        label = recorder.cases[case].value.operation.label
        for check in checks:
            failed = check.failure_info
            if failed is not None and not _is_of_no_model(label, check.name):
                answer = _answer_to(recorder.interactions.get(case))
                faults.append(f"{label}: {check.name}: {failed.failure}\n{failed.code_sample}\n{answer}")
    return faults


def _is_of_no_model(label: str, check: str) -> bool:
    """Whether it is only said that a body does not fit: which do is said where the path names the model."""
    return check == "positive_data_acceptance" and "{name}" in label


def _answer_to(interaction: Any) -> str:
    response = interaction.response if interaction else None
    return f"answered {response.status_code}: {response.content[:300]!r}" if response else "not answered"


def _unexplained_503s(recorder: Any) -> list[str]:
    """Return the answers 503 that are not those of a declared model that has no champion."""
    return [
        f"{recorder.cases[case].value.operation.label}: {_answer_to(interaction)}"
        for case, interaction in recorder.interactions.items()
        if interaction.response is not None
        and interaction.response.status_code == 503
        and not re.search(rb"has no champion|no-champion|\"ready\":", interaction.response.content)
    ]


def summary(faults: list[str]) -> str:
    """Return each kind of fault once, with how often it was found."""
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(fault.splitlines()[0], []).append(fault)
    return "\n\n".join(f"{len(each)} times: {each[0][:300]} ... {each[0][-300:]}" for each in list(kinds.values())[:20])


def test_schemathesis_finds_no_server_error_no_undocumented_status_and_no_violated_schema(client: FlaskClient) -> None:
    faults, asked, answered = faults_found(client.application, examples=6)
    assert not faults, summary(faults)
    assert_all_phases(asked, min_requests=10)
    assert_jobs_are_walked(answered)


@pytest.mark.slow
def test_schemathesis_finds_none_with_200_examples_an_operation_and_tokens_either(settled: Any) -> None:
    app, headers = asking_for_tokens(settled)
    faults, asked, answered = faults_found(app, examples=200, **headers)
    assert not faults, summary(faults)
    assert_all_phases(asked, min_requests=100)
    assert_jobs_are_walked(answered)
    assert sum(asked.values()) > 5_000


def asking_for_tokens(settled: Any) -> tuple[Any, dict[str, str]]:
    """Return the service as it asks for tokens, and the header with a good one."""
    settings = settled.harness.settings.model_copy(update={"auth_secret": SecretStr(SECRET)})
    headers = {"Authorization": f"Bearer {token_for('predict scores models')}"}
    return create_app(settings, settled.registry, settled.harness.engine), headers


def token_for(scope: str, **more: Any) -> str:
    claims = {"iss": "sluice", "aud": "sluice", "sub": "shop", "exp": int(time.time()) + 3600, "scope": scope}
    return jwt.encode(claims | more, SECRET, "HS256")


def test_a_token_is_asked_for_exactly_where_the_description_says_so(settled: Any) -> None:
    app, headers = asking_for_tokens(settled)
    client = app.test_client()
    paths = client.get("/openapi.json", headers=headers).get_json()["paths"]
    operations = [(path, method, each) for path, methods in paths.items() for method, each in methods.items()]
    assert len(operations) > 20
    for path, method, each in operations:
        answer = client.open(re.sub(r"{name}", "iris", re.sub(r"{(?!name)\w+}", "1", path)), method=method.upper())
        assert (answer.status_code == 401) == ("security" in each), f"{method} {path}: {answer.status_code}"
        assert ("401" in each["responses"]) == ("security" in each)


def test_without_a_token_routes_are_described_and_no_model(settled: Any) -> None:
    app, headers = asking_for_tokens(settled)
    client = app.test_client()
    named = re.compile(r"iris|trip|sugar|carrier|distance|setosa")
    for path in ("/openapi.json", "/docs"):
        wrong, right = client.get(path, headers={"Authorization": "Bearer x.y.z"}), client.get(path, headers=headers)
        nobody = client.get(path)
        assert nobody.status_code == wrong.status_code == right.status_code == 200
        assert nobody.text == wrong.text
        assert not named.search(nobody.text)
        assert set(named.findall(right.text)) >= {"iris", "trip", "sugar", "carrier", "setosa"}
        assert "/v1/models/{name}/predict" in nobody.text
    assert "The models are described only to requests with a token" in client.get("/docs").text
    assert "The models are described only to requests with a token" not in client.get("/docs", headers=headers).text


def test_a_token_for_one_model_is_told_of_that_one(settled: Any) -> None:
    app, _ = asking_for_tokens(settled)
    headers = {"Authorization": f"Bearer {token_for('models', models=['trip'])}"}
    paths = app.test_client().get("/openapi.json", headers=headers).get_json()["paths"]
    assert "/v1/models/trip/predict" in paths
    assert "/v1/models/iris/predict" not in paths
    headers = {"Authorization": f"Bearer {token_for('predict')}"}
    assert "/v1/models/trip/predict" not in app.test_client().get("/openapi.json", headers=headers).get_json()["paths"]


def test_readiness_is_described_as_it_is_told_with_and_without_a_token(settled: Any) -> None:
    app, headers = asking_for_tokens(settled)
    client = app.test_client()
    document = client.get("/openapi.json", headers=headers).get_json()
    ready = document["paths"]["/ready"]["get"]
    assert "security" not in ready
    assert "the scope models" in ready["description"]
    schema = {"$ref": "#/components/schemas/ReadinessResponse", "components": document["components"]}
    for given in ({}, headers):
        told = client.get("/ready", headers=given).get_json()
        Draft202012Validator(schema).validate(told)
        assert ("ledger_error" in told) == ("load_error" in told["models"]["iris"]) == bool(given)


def assert_all_phases(asked: Counter[str], min_requests: int) -> None:
    counts = {phase.lower(): count for phase, count in asked.items()}
    assert all(counts.get(phase, 0) > min_requests for phase in ("coverage", "fuzzing", "stateful")), counts


def assert_jobs_are_walked(answered: set[tuple[str, int]]) -> None:
    assert {(f"POST /v1/models/{name}/predict_async", 202) for name in MODELS} <= answered
    assert {("GET /v1/jobs/{job}", 200), ("DELETE /v1/jobs/{job}", 200)} <= answered
