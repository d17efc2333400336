"""What a client asks and is answered."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from include.inference import load_scorer
from model_service import create_app

SETOSA = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), SETOSA, strict=True))
TRIP = {"distance": 10.5, "carrier": "BB", "weekend": True}


@pytest.fixture(scope="module")
def settled(both_ways: Any) -> Any:
    return both_ways


@pytest.fixture(scope="module")
def client(settled: Any) -> FlaskClient:
    return settled.client


@pytest.fixture(scope="module")
def harness(settled: Any) -> Any:
    return settled.harness


def test_the_default_model_answers_the_plain_body(client: FlaskClient, harness: Any) -> None:
    response = client.post("/predict", json={"features": SETOSA})
    answer = response.get_json()
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert answer["model"] == "iris"
    assert answer["version"] == 1
    assert answer["artifact_digest"] == harness.ledger.version("iris", 1).artifact_digest
    assert answer["request_id"] == response.headers["X-Request-ID"]
    assert datetime.fromisoformat(answer["timestamp"]).tzinfo is not None
    assert answer["prediction"]["label"] == "setosa"
    assert answer["prediction"]["class_index"] == 0
    assert list(answer["prediction"]["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert answer["prediction"]["probabilities"]["setosa"] == pytest.approx(1, abs=0.3)


def test_a_list_an_object_and_one_of_many_get_the_same_prediction(client: FlaskClient) -> None:
    by_list = client.post("/v1/models/iris/predict", json={"features": SETOSA}).get_json()["prediction"]
    by_name = client.post("/v1/models/iris/predict", json={"features": NAMED}).get_json()["prediction"]
    many = client.post("/v1/models/iris/predict", json={"features": [SETOSA, NAMED, SETOSA]}).get_json()["predictions"]
    assert by_list == by_name
    assert many == [by_list] * 3


@pytest.mark.parametrize("name", ["iris", "trip", "sugar"])
def test_what_is_answered_is_to_the_bit_what_a_batch_scores(client: FlaskClient, harness: Any, name: str) -> None:
    artifact = harness.store.open(name, 1, harness.ledger.version(name, 1).artifact_digest)
    golden = json.loads(artifact.read("golden.json"))
    scorer = load_scorer(artifact)
    for row in golden:
        prediction = client.post(f"/v1/models/{name}/predict", json={"features": row["features"]}).get_json()[
            "prediction"
        ]
        scores = list(prediction["probabilities"].values()) if scorer.signature.classes else [prediction["value"]]
        assert scores == row["answer"]
        if scorer.signature.classes:
            assert prediction["class_index"] == int(np.argmax(scores))


def test_a_mixed_row_takes_null_where_missing_is_allowed(client: FlaskClient) -> None:
    response = client.post("/v1/models/trip/predict", json={"features": TRIP | {"distance": None}})
    assert response.status_code == 200
    assert set(response.get_json()["prediction"]["probabilities"]) == {"on_time", "late"}


def test_a_regression_answers_a_value(client: FlaskClient) -> None:
    response = client.post("/v1/models/sugar/predict", json={"features": [[0.01] * 10, [0.02] * 10]})
    assert [set(each) for each in response.get_json()["predictions"]] == [{"value"}, {"value"}]


def test_the_callers_request_id_comes_back(client: FlaskClient) -> None:
    headers = {"X-Request-ID": "order-17"}
    response = client.post("/predict", json={"features": SETOSA}, headers=headers)
    assert response.get_json()["request_id"] == response.headers["X-Request-ID"] == "order-17"
    refused = client.post("/predict", json={"features": [1]}, headers=headers)
    assert refused.get_json()["request_id"] == refused.headers["X-Request-ID"] == "order-17"
    odd = client.post("/predict", json={"features": SETOSA}, headers={"X-Request-ID": "a b" * 100})
    assert len(odd.get_json()["request_id"]) == 32


@pytest.mark.parametrize(
    ("features", "paths"),
    [
        ([5.1, "3.5", 1.4, 0.2], ["$.features[1]"]),
        ([5.1, True, None, 0.2], ["$.features[1]", "$.features[2]"]),
        ([5.1, [3.5], 1.4, 101], ["$.features[1]", "$.features[3]"]),
        ([5.1, 3.5], ["$.features"]),
        ([], ["$.features"]),
        ("5.1", ["$.features"]),
        (None, ["$.features"]),
        (NAMED | {"sepal_width": -1}, ["$.features.sepal_width"]),
        (NAMED | {"colour": "red"}, ["$.features.colour"]),
        ({}, [f"$.features.{name}" for name in NAMED]),
        ([SETOSA, NAMED | {"petal_width": "x"}, 3], ["$.features[1].petal_width", "$.features[2]"]),
        ([[1, 2, 3]], ["$.features[0]"]),
    ],
)
def test_bad_features_are_422_with_the_path_of_every_fault(
    client: FlaskClient, features: Any, paths: list[str]
) -> None:
    response = client.post("/predict", json={"features": features})
    problem = response.get_json()
    assert response.status_code == problem["status"] == 422
    assert response.content_type == "application/problem+json"
    assert problem["type"] == "urn:sluice:problem:rows-rejected"
    assert problem["instance"] == "/predict"
    assert [fault["path"] for fault in problem["errors"]] == paths
    assert all(fault["expected"] and fault["found"] for fault in problem["errors"])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("[1, 2]", "$"),
        ("{}", "$.features"),
        ('{"features": [1, 1, 1, 1], "extra": 1}', "$.extra"),
        ('{"features": [1, 1, 1, 1], "features": [2, 2, 2, 2]}', "$.features"),
        ('{"features": [1, NaN, 1, 1]}', "$.features[1]"),
        ('{"features": [1, 1, -Infinity, 1]}', "$.features[2]"),
        ('{"features": [1, 1, 1, 1e999]}', "$.features[3]"),
    ],
)
def test_json_of_another_shape_doubled_members_nan_and_infinity_are_422_with_the_path(
    client: FlaskClient, body: str, path: str
) -> None:
    response = client.post("/predict", data=body)
    assert response.status_code == 422
    assert [fault["path"] for fault in response.get_json()["errors"]] == [path]


def test_a_doubled_or_unknown_member_hides_no_fault_of_the_rows(client: FlaskClient) -> None:
    body = (
        '{"extra": 1, "features": [{"sepal_length": 1, "sepal_length": 2, "sepal_width": "x", "petal_length": 1},'
        " [1, 1, true, 1]]}"
    )
    errors = client.post("/predict", data=body).get_json()["errors"]
    assert [fault["path"] for fault in errors] == [
        "$.extra",
        "$.features[0].sepal_length",
        "$.features[0].sepal_width",
        "$.features[0].petal_width",
        "$.features[1][2]",
    ]


PRIVATE = "a diagnosis"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/trip/predict", {"features": TRIP | {"carrier": PRIVATE, "distance": 98765.25}}),
        ("/v1/models/trip/predict", {"features": [TRIP | {"carrier": PRIVATE, "weekend": 98765.25}], "extra": 1}),
        ("/v2/models/trip/infer", {"inputs": [
            {"name": "distance", "shape": [1], "datatype": "FP64", "data": [98765.25]},
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": [PRIVATE]},
            {"name": "weekend", "shape": [1], "datatype": "BOOL", "data": [True]},
        ]}),
    ],
)  # fmt: skip
def test_no_answer_and_no_log_repeats_a_refused_value(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    with caplog.at_level("DEBUG"):
        response = client.post(path, json=body)
    assert response.status_code == 422
    told = response.get_data(as_text=True)
    assert ".carrier" in told
    assert [each for each in (PRIVATE, "98765") if each in told + caplog.text] == []


def test_an_operator_may_have_refused_values_repeated(settled: Any, client: FlaskClient) -> None:
    shows = settled.harness.settings.model_copy(update={"service_errors_include_values": True})
    asked = create_app(shows, settled.registry).test_client()
    body = {"features": TRIP | {"carrier": PRIVATE, "distance": 98765.25}}
    for answering, found in ((client, ["one out of range", "a string of 11 characters"]),
                             (asked, ["98765.25", 'the string "a diagnosis"'])):  # fmt: skip
        problem = answering.post("/v1/models/trip/predict", json=body).get_json()
        assert [fault["found"] for fault in problem["errors"]] == found


def test_a_colon_inside_a_string_is_not_mistaken_for_a_doubled_member(client: FlaskClient) -> None:
    problem = client.post("/v1/models/trip/predict", json={"features": TRIP | {"carrier": "A:B::"}}).get_json()
    assert [fault["path"] for fault in problem["errors"]] == ["$.features.carrier"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"features=1", b'{"features": [1,]}', b"\xff\xfe", b"[" * 100_000, b"9" * 5000]
)
def test_what_is_not_json_is_400(client: FlaskClient, body: bytes) -> None:
    response = client.post("/predict", data=body)
    assert response.status_code == 400
    assert response.get_json()["type"] == "urn:sluice:problem:malformed-body"


def test_a_category_never_seen_is_refused_with_those_known_where_the_policy_says_so(client: FlaskClient) -> None:
    problem = client.post("/v1/models/trip/predict", json={"features": TRIP | {"carrier": "ZZ"}}).get_json()
    assert problem["errors"] == [
        {"path": "$.features.carrier", "expected": 'one of "AA", "BB", "CC"', "found": "a string of 2 characters"}
    ]


def test_half_a_surrogate_pair_is_a_category_never_seen_like_any_other(client: FlaskClient) -> None:
    body = '{"features": {"distance": 1, "carrier": "\\ud800", "weekend": true}}'
    response = client.post("/v1/models/trip/predict", data=body)
    assert (response.status_code, response.get_json()["errors"][0]["path"]) == (422, "$.features.carrier")


def test_mutated_requests_never_meet_a_fault_of_our_own(client: FlaskClient) -> None:
    chance = random.Random(0)  # noqa: S311  # mutations, not secrets
    tokens = [*b'{}[],:"-', *(b"null", b"NaN", b"1e400", b"\\ud800", b"\xff", b"true", b'"features"', b"9" * 30)]
    for _ in range(2_000):
        body = bytearray(json.dumps({"features": chance.choice([SETOSA, TRIP, [TRIP, list(TRIP.values())]])}).encode())
        for _ in range(chance.randint(1, 4)):
            at, token = chance.randrange(len(body) + 1), chance.choice(tokens)
            body[at : at + chance.choice([0, 0, 1, 4])] = bytes([token]) if isinstance(token, int) else token
        response = client.post(chance.choice(["/predict", "/v1/models/trip/predict"]), data=bytes(body))
        assert response.status_code in {200, 400, 422}, (bytes(body), response.text)


@pytest.mark.parametrize("features", [[1] * 5_000, [[1] * 5_000, SETOSA], [SETOSA, {"petal_width": [1] * 5_000}]])
def test_more_values_than_the_rows_can_have_are_422_as_one_error(client: FlaskClient, features: Any) -> None:
    response = client.post("/predict", json={"features": features})
    assert response.status_code == 422
    (fault,) = response.get_json()["errors"]
    assert (fault["path"], fault["expected"][-7:]) == ("$", " values")


def test_many_rows_have_no_more_values_than_they_can_have(client: FlaskClient) -> None:
    rows = [[10.5, "AA", True], TRIP] * 4_000
    assert client.post("/v1/models/trip/predict", json={"features": rows}).status_code == 200
    rows[0] = [10.5, ',,",[{' * 20_000, True]  # in a string, nothing separates values
    (fault,) = client.post("/v1/models/trip/predict", json={"features": rows}).get_json()["errors"]
    assert fault["path"] == "$.features[0][1]"


def test_too_many_bytes_or_rows_are_413(client: FlaskClient, harness: Any) -> None:
    rows = client.post("/predict", json={"features": [SETOSA] * (harness.settings.service_max_rows + 1)})
    assert (rows.status_code, "SLUICE_SERVICE_MAX_ROWS" in rows.get_json()["detail"]) == (413, True)
    heavy = client.post("/predict", data=b" " * (harness.settings.service_max_bytes + 1))
    assert (heavy.status_code, "SLUICE_SERVICE_MAX_BYTES" in heavy.get_json()["detail"]) == (413, True)


def test_an_unknown_model_is_404_with_those_declared(client: FlaskClient) -> None:
    response = client.post("/v1/models/irs/predict", json={"features": SETOSA})
    assert response.status_code == 404
    assert response.get_json()["declared"] == ["empty_one", "iris", "sugar", "trip"]


def test_a_model_without_champion_is_503_and_says_how_to_get_one(client: FlaskClient) -> None:
    response = client.post("/v1/models/empty_one/predict", json={"features": [1]})
    assert response.status_code == 503
    assert "sluice train empty_one" in response.get_json()["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("get", "/predict", 405), ("get", "/nowhere", 404)])
def test_a_wrong_method_or_route_is_a_problem_document_too(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == response.get_json()["status"] == status
    assert response.content_type == "application/problem+json"


def test_a_fault_of_our_own_is_500_without_a_trace_of_the_code(
    client: FlaskClient, settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled.registry["iris"].current, "encoder", None)  # break it from within
    response = client.post("/predict", json={"features": SETOSA})
    assert response.status_code == 500
    assert "Traceback" not in response.text
    assert "NoneType" not in response.text
