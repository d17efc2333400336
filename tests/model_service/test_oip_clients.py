"""What clients of the Open Inference Protocol really send: tritonclient, and the examples of KServe and MLServer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from model_service.http.json_structure import MAX_DIGITS
from tests.model_service.test_oip import ROWS, TRIPS, client, predictions, settled, tensor, trip_inputs, triton

__all__ = ["client", "settled", "triton"]  # fixtures


def ask(client: FlaskClient, model: str, body: Any, status: int = 200) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(f"/v2/models/{model}/infer", data=data)
    assert response.status_code == status, response.get_json()
    return response.get_json()


def matrix(name: str, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": [3, 4], "datatype": "FP32", "data": ROWS, **more}]}


# As in https://kserve.github.io/website (sklearn, V2) and https://mlserver.readthedocs.io (examples/sklearn).
@pytest.mark.parametrize("name", ["X", "features", "input-0", "predict"])
@pytest.mark.parametrize("more", [{}, {"parameters": None}, {"parameters": {"content_type": "np"}}])
def test_the_examples_of_other_servers_are_answered(client: FlaskClient, name: str, more: dict[str, Any]) -> None:
    wanted = [each["label"] for each in predictions(client, "iris", ROWS)]
    for extra in ({}, {"outputs": None}, {"outputs": []}, {"parameters": None}, {"id": None}):
        outputs = {each["name"]: each for each in ask(client, "iris", matrix(name, **more) | extra)["outputs"]}
        assert outputs["label"]["data"] == wanted
        assert len(outputs) == 3


def test_one_tensor_of_all_features_is_for_models_of_numbers(client: FlaskClient) -> None:
    body = {"inputs": [{"name": "input-0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    assert "input 'distance' is missing" in ask(client, "trip", body, 400)["error"]


def test_parameters_of_an_output_may_be_null(client: FlaskClient) -> None:
    body = matrix("X") | {"outputs": [{"name": "label", "parameters": None}]}
    assert [each["name"] for each in ask(client, "iris", body)["outputs"]] == ["label"]


def test_tritonclient_s_nan_is_a_missing_value(triton: InferenceServerClient, client: FlaskClient) -> None:
    distance = np.array([10.5, np.nan], dtype=np.float32)
    inputs = [tensor("distance", distance, "FP32", binary=False), *trip_inputs(binary=False)[1:]]
    result = triton.infer("trip", inputs)
    wanted = [each["label"].encode() for each in predictions(client, "trip", TRIPS)]
    assert result.as_numpy("label").tolist() == wanted


def test_nan_of_a_feature_that_may_not_be_missing_is_named(triton: InferenceServerClient) -> None:
    values = np.array(ROWS, dtype=np.float32)
    values[1, 2] = np.nan
    with pytest.raises(InferenceServerException, match=r"inputs\.X\[1\]\[2\]"):
        triton.infer("iris", [tensor("X", values, "FP32", binary=False)])


def test_nan_in_a_string_is_a_string(client: FlaskClient) -> None:
    text = b"""{"id": "NaN \\\\\\" NaN", "inputs": [
        {"name": "distance", "shape": [2], "datatype": "FP32", "data": [NaN, 7]},
        {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["AA", "NaN\\""]},
        {"name": "weekend", "shape": [2], "datatype": "BOOL", "data": [true, false]}]}"""
    said = ask(client, "trip", text, 422)["error"]
    assert "inputs.carrier[1]" in said
    assert "distance" not in said
    fine = text.replace(b'"NaN\\""', b'"BB"')
    assert ask(client, "trip", fine)["id"] == 'NaN \\" NaN'


@pytest.mark.parametrize(
    ("literal", "said"),
    [
        ("Infinity", "found Infinity at data[1]"),
        ("-Infinity", "found Infinity at data[1]"),
        ("1e400", "such as 1e400 at data[1]"),
        ("-1E999", "such as -1E999 at data[1]"),
    ],
)
def test_a_number_beyond_double_precision_is_named(client: FlaskClient, literal: str, said: str) -> None:
    text = json.dumps(matrix("X")).replace("[[5.1, 3.5,", f"[5.1, {literal},").replace("0.2], [", "0.2, ", 1)
    text = text.replace("2.3], [", "2.3, ").replace("1.5]]", "1.5]")
    found = ask(client, "iris", text.encode(), 400)["error"]
    assert said in found
    assert "input 'X'" in found
    nested = json.dumps(matrix("X")).replace("[5.1, 3.5,", f"[5.1, {literal},")
    assert "at data[0][1]" in ask(client, "iris", nested.encode(), 400)["error"]


def test_v1_names_a_number_beyond_double_precision(client: FlaskClient) -> None:
    response = client.post("/v1/models/iris/predict", data=b'{"features": [[5.1, 3.5, 1.4, 0.2], [5.1, 1e400, 1, 1]]}')
    assert response.status_code == 422
    (error,) = response.get_json()["errors"]
    assert "[1]" in json.dumps(error)
    assert "sepal_width" in json.dumps(error) or "[1][1]" in json.dumps(error)


def test_v1_names_the_first_such_number_of_a_large_body(client: FlaskClient) -> None:
    body = b'{"features": [' + (b"[1,1,1,1" + b" " * 120 + b"],") * 9_000 + b"[1e400,1,1,1]]}"
    response = client.post("/v1/models/iris/predict", data=body)
    assert response.status_code == 422
    assert "[9000]" in json.dumps(response.get_json()["errors"])


def test_the_classification_extension_is_refused_by_name(triton: InferenceServerClient) -> None:
    values = InferInput("X", [3, 4], "FP32")
    values.set_data_from_numpy(np.array(ROWS, dtype=np.float32))
    with pytest.raises(InferenceServerException, match=r"output 'probabilities': the classification ext"):
        triton.infer("iris", [values], outputs=[InferRequestedOutput("probabilities", class_count=2)])


def test_an_error_has_no_reference_to_what_is_not_there(client: FlaskClient) -> None:
    body = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [-1, 1, 1, 1]}]}
    said = ask(client, "iris", body, 422)
    assert list(said) == ["error"]
    assert "see errors" not in said["error"]
    assert "signature: inputs.X[0][0]" in said["error"]


@pytest.mark.parametrize("inside", [False, True], ids=["a number", "a string"])
def test_a_number_of_too_many_digits_is_refused_before_it_is_parsed(client: FlaskClient, inside: bool) -> None:
    long = "9" * (MAX_DIGITS + 1)
    filler = '"' + "1" * 100_000 + '\\\\\\"'  # a long string, with an escaped quote, is no long number
    row = [f'{filler}{long}"' if inside else f'{filler}",{long}']
    response = client.post("/v1/models/iris/predict", data=f'{{"features":[{row[0]}]}}'.encode())
    assert response.status_code == (422 if inside else 400)
    if not inside:
        assert f"at most {MAX_DIGITS} digits" in response.get_json()["detail"]
