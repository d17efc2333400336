"""Tensors of numbers that lie one after the other are read as one table: nothing else may come of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from include.inference.tensor_types import NUMPY_TYPES

IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
# Each holds whole numbers up to 9 as they are.
NUMBERS = sorted(name for name, dtype in NUMPY_TYPES.items() if dtype.kind in "iuf")


@pytest.fixture(scope="module")
def client(settled: Any) -> FlaskClient:
    return settled.client


def asked(client: FlaskClient, tensors: dict[str, np.ndarray], types: dict[str, str], **sizes: int) -> Any:
    """Send each of `tensors` in binary form, in that order; `sizes` tells another size of some than they have."""
    heads = [
        {
            "name": name,
            "datatype": types[name],
            "shape": [len(values)],
            "parameters": {"binary_data_size": sizes.get(name, values.nbytes)},
        }
        for name, values in tensors.items()
    ]
    head = json.dumps({"inputs": heads, "outputs": [{"name": "probabilities"}]}).encode()
    body = head + b"".join(values.tobytes() for values in tensors.values())
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return client.post("/v2/models/iris/infer", data=body, headers=headers)


def columns(types: dict[str, str], rows: list[list[int]]) -> dict[str, np.ndarray]:
    """Return the rows' numbers by feature, in the order of `types`."""
    by_name = dict(zip(IRIS, zip(*rows, strict=True), strict=True))
    return {name: np.array(by_name[name], dtype=NUMPY_TYPES[datatype]) for name, datatype in types.items()}


@given(
    order=st.permutations(IRIS),
    datatypes=st.lists(st.sampled_from(NUMBERS), min_size=4, max_size=4),
    rows=st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=5),
)
@settings(max_examples=100)
def test_numbers_of_any_types_in_any_order_are_answered_as_rows_of_json_are(
    client: FlaskClient, order: tuple[str, ...], datatypes: list[str], rows: list[list[int]]
) -> None:
    for types in (dict(zip(order, datatypes, strict=True)), dict.fromkeys(order, datatypes[0])):
        answer = asked(client, columns(types, rows), types)
        assert answer.status_code == 200, answer.text
        plain = client.post("/v1/models/iris/predict", json={"features": rows}).get_json()["predictions"]
        wanted = [value for each in plain for value in each["probabilities"].values()]
        assert answer.get_json()["outputs"][0]["data"] == wanted


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("value", [float("nan"), -1.0, 1e30, float("inf")])
def test_a_number_that_does_not_fit_is_named_among_others_that_do(
    client: FlaskClient, datatype: str, value: float
) -> None:
    types = dict.fromkeys(IRIS, datatype)
    tensors = columns(types, [[5, 3, 1, 0], [6, 3, 5, 2], [5, 3, 4, 1]])
    tensors["petal_length"] = np.array([1.4, value, 4.2], dtype=NUMPY_TYPES[datatype])
    told = asked(client, tensors, types).get_json()["error"]
    assert "inputs.petal_length[1]" in told
    assert told.count("inputs.") == 1, told


def test_a_tensor_of_another_size_is_named_among_others_of_the_right_one(client: FlaskClient) -> None:
    types = dict.fromkeys(IRIS, "FP32")
    tensors = columns(types, [[5, 3, 1, 0], [6, 3, 5, 2]])
    tensors["petal_length"] = np.zeros(3, dtype="<f4")
    told = asked(client, tensors, types)
    assert told.status_code == 400
    assert "all inputs must have the same number of rows" in told.get_json()["error"]
    told = asked(client, columns(types, [[5, 3, 1, 0], [6, 3, 5, 2]]), types, petal_length=4, petal_width=12)
    assert told.status_code == 400
    assert "input 'petal_length': 2 element(s) of FP32 take 8 bytes; found 4" in told.get_json()["error"]
    assert "input 'petal_width': 2 element(s) of FP32 take 8 bytes; found 12" in told.get_json()["error"]
    assert "sepal" not in told.get_json()["error"]


def test_no_rows_in_a_table_get_no_answers(client: FlaskClient) -> None:
    types = dict.fromkeys(IRIS, "FP32")
    none = {name: np.zeros(0, dtype="<f4") for name in IRIS}
    assert asked(client, none, types).get_json()["outputs"][0] == {
        "name": "probabilities", "datatype": "FP64", "shape": [0, 3], "data": [],
    }  # fmt: skip
