"""The Open Inference Protocol, by its own client and by hand."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException
from werkzeug.serving import make_server

from include.settings import Settings
from model_service import ModelRegistry, create_app
from model_service.oip.request import MAX_CACHED

IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
TRIPS: list[dict[str, Any]] = [
    {"distance": 10.5, "carrier": "BB", "weekend": True},
    {"distance": None, "carrier": "AA", "weekend": False},
]


@pytest.fixture(scope="module")
def settled(both_ways: Any) -> Any:
    return both_ways


@pytest.fixture(scope="module")
def client(settled: Any) -> FlaskClient:
    return settled.client


@pytest.fixture(scope="module")
def triton(settled: Any) -> Iterator[InferenceServerClient]:
    """The client that others use, unmodified, over a real socket."""
    server = make_server("127.0.0.1", 0, settled.client.application, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with InferenceServerClient(f"127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    thread.join()


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def trip_inputs(*, binary: bool, shape: tuple[int, ...] = (2,)) -> list[InferInput]:
    distance = np.array([np.nan if row["distance"] is None else row["distance"] for row in TRIPS], dtype=np.float32)
    carrier = np.array([row["carrier"].encode() for row in TRIPS], dtype=np.object_)
    weekend = np.array([row["weekend"] for row in TRIPS])
    if not binary:
        distance = np.nan_to_num(distance, nan=7)  # JSON has no NaN; see null below
    return [
        tensor("distance", distance.reshape(shape), "FP32", binary=binary),
        tensor("carrier", carrier.reshape(shape), "BYTES", binary=binary),
        tensor("weekend", weekend.reshape(shape), "BOOL", binary=binary),
    ]


def predictions(client: FlaskClient, name: str, rows: list[Any]) -> list[Any]:
    return client.post(f"/v1/models/{name}/predict", json={"features": rows}).get_json()["predictions"]


# -- the client unmodified -------------------------------------------------------------------------


def test_the_server_and_its_models_are_live_and_ready(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("iris")
    assert triton.is_model_ready("iris", "1")
    assert not triton.is_model_ready("iris", "9")
    assert not triton.is_model_ready("empty_one")
    assert not triton.is_model_ready("irs")


def test_the_server_and_a_model_tell_what_they_are(triton: InferenceServerClient) -> None:
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = triton.get_model_metadata("trip")
    assert told == triton.get_model_metadata("trip", "1")
    assert (told["name"], told["versions"], told["platform"]) == ("trip", ["1"], "onnxruntime_onnx")
    assert [(each["name"], each["datatype"], each["shape"]) for each in told["inputs"]] == [
        ("distance", "FP32", [-1]),
        ("carrier", "BYTES", [-1]),
        ("weekend", "BOOL", [-1]),
    ]
    assert [(each["name"], each["datatype"], each["shape"]) for each in told["outputs"]] == [
        ("label", "BYTES", [-1]),
        ("class_index", "INT64", [-1]),
        ("probabilities", "FP64", [-1, 2]),
    ]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_inputs_and_outputs_go_in_either_form(
    triton: InferenceServerClient, client: FlaskClient, binary_in: bool, binary_out: bool, shape: tuple[int, ...]
) -> None:
    names = ("label", "class_index", "probabilities")
    outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = triton.infer("trip", trip_inputs(binary=binary_in, shape=shape), outputs=outputs, request_id="order-17")
    rows = TRIPS if binary_in else [TRIPS[0], TRIPS[1] | {"distance": 7}]
    wanted = predictions(client, "trip", rows)
    assert result.get_response()["id"] == "order-17"
    assert result.get_response()["model_version"] == "1"
    labels = result.as_numpy("label").tolist()
    assert [each.decode() if isinstance(each, bytes) else each for each in labels] == [p["label"] for p in wanted]
    assert result.as_numpy("class_index").tolist() == [p["class_index"] for p in wanted]
    assert result.as_numpy("probabilities").tolist() == [list(p["probabilities"].values()) for p in wanted]


def test_with_no_output_named_all_come_in_binary_form_as_the_client_asks(triton: InferenceServerClient) -> None:
    result = triton.infer("trip", trip_inputs(binary=True))
    assert [each["name"] for each in result.get_response()["outputs"]] == ["label", "class_index", "probabilities"]
    assert all("binary_data_size" in each["parameters"] for each in result.get_response()["outputs"])
    assert result.as_numpy("probabilities").shape == (2, 2)


@pytest.mark.parametrize("name", ["X", "features"])
@pytest.mark.parametrize("dtype", ["FP32", "FP64"])
def test_a_model_of_numbers_takes_them_as_one_tensor_too(
    triton: InferenceServerClient, client: FlaskClient, name: str, dtype: str
) -> None:
    block = np.array(ROWS, dtype=np.float32 if dtype == "FP32" else np.float64)
    result = triton.infer("iris", [tensor(name, block, dtype, binary=True)])
    wanted = predictions(client, "iris", block.tolist())
    assert result.as_numpy("probabilities").tolist() == [list(p["probabilities"].values()) for p in wanted]
    columns = [tensor(each, block[:, i], dtype, binary=i % 2 == 0) for i, each in enumerate(IRIS)]
    assert triton.infer("iris", columns).as_numpy("probabilities").tolist() == result.as_numpy("probabilities").tolist()


def test_whole_numbers_of_any_type_are_numbers(triton: InferenceServerClient) -> None:
    types = {"INT8": np.int8, "UINT16": np.uint16, "INT64": np.int64, "FP16": np.float16}
    inputs = [
        tensor(name, np.array([5, 6], dtype=dtype), datatype, binary=True)
        for name, (datatype, dtype) in zip(IRIS, types.items(), strict=True)
    ]
    block = np.array([[5] * 4, [6] * 4], dtype=np.float32)
    wanted = triton.infer("iris", [tensor("X", block, "FP32", binary=True)]).as_numpy("probabilities")
    assert triton.infer("iris", inputs).as_numpy("probabilities").tolist() == wanted.tolist()


def test_a_regression_gives_values(triton: InferenceServerClient, client: FlaskClient) -> None:
    block = np.full((3, 10), 0.01)
    for rows in (3, 1):  # a linear model: one row alone must get what it gets among others
        result = triton.infer("sugar", [tensor("X", block[:rows], "FP64", binary=True)])
        wanted = predictions(client, "sugar", block[:rows].tolist())
        assert result.as_numpy("value").tolist() == [each["value"] for each in wanted]


@pytest.mark.parametrize("packing", ["gzip", "deflate", None])
@pytest.mark.parametrize("unpacking", ["gzip", "deflate", None])
def test_requests_and_answers_may_be_compressed(
    triton: InferenceServerClient, packing: str | None, unpacking: str | None
) -> None:
    result = triton.infer(
        "trip",
        trip_inputs(binary=True),
        request_compression_algorithm=packing,
        response_compression_algorithm=unpacking,
    )
    assert result.as_numpy("probabilities").shape == (2, 2)


def test_a_version_is_asked_by_its_number(triton: InferenceServerClient) -> None:
    assert triton.infer("trip", trip_inputs(binary=True), model_version="1").get_response()["model_version"] == "1"
    with pytest.raises(InferenceServerException, match=r"no version 9; existing versions: 1"):
        triton.infer("trip", trip_inputs(binary=True), model_version="9")


def test_priority_timeout_and_parameters_of_ones_own_are_let_through(triton: InferenceServerClient) -> None:
    result = triton.infer("trip", trip_inputs(binary=True), priority=1, timeout=5, parameters={"own": "x"})
    assert result.as_numpy("label").shape == (2,)


def wrong(**changes: Any) -> list[InferInput]:
    inputs = {each.name(): each for each in trip_inputs(binary=True)}
    return list((inputs | changes).values())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda: trip_inputs(binary=True)[:2], "input 'weekend' is missing"),
        (lambda: wrong(x=tensor("colour", np.zeros(2), "FP64", binary=True)), "'colour' is none of the features"),
        (lambda: wrong(distance=tensor("distance", np.zeros(3), "FP64", binary=True)), "the same number of rows"),
        (lambda: wrong(distance=tensor("distance", np.zeros((2, 2)), "FP64", binary=True)), r"\[n\] or \[n, 1\]"),
        (lambda: wrong(weekend=tensor("weekend", np.zeros(2), "FP64", binary=True)), "datatype must be BOOL; found"),
        (lambda: wrong(distance=tensor("distance", np.full(2, 2e3), "FP64", binary=True)), r"inputs.distance\[0\]"),
        (
            lambda: wrong(carrier=tensor("carrier", np.array([b"AA", b"ZZ"], dtype=object), "BYTES", binary=True)),
            r'inputs.carrier\[1\]: expected one of "AA", "BB", "CC"; found a string of 2 characters',
        ),
        (lambda: [tensor("X", np.zeros((2, 3)), "FP64", binary=True)], "input 'distance' is missing"),
    ],
)
def test_wrong_names_shapes_types_and_values_are_told(
    triton: InferenceServerClient, inputs: Callable[[], list[InferInput]], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        triton.infer("trip", inputs())


def test_an_output_that_there_is_none_of_is_told(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="output 'score' is none of label, class_index, probabilities"):
        triton.infer("trip", trip_inputs(binary=True), outputs=[InferRequestedOutput("score")])


def test_a_matrix_of_another_width_is_told(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"shape must be \[n, 4\]; found \[2, 3\]"):
        triton.infer("iris", [tensor("X", np.zeros((2, 3)), "FP64", binary=True)])


# -- by hand ---------------------------------------------------------------------------------------


def infer(client: FlaskClient, document: Any, name: str = "iris", **headers: str) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post(f"/v2/models/{name}/infer", data=body, headers=named)


def block(data: Any, shape: list[int], datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "X", "datatype": datatype, "shape": shape, "data": data}], **more}


def test_a_tensor_of_json_is_flat_or_nested(client: FlaskClient) -> None:
    flat = infer(client, block([value for row in ROWS for value in row], [3, 4])).get_json()
    nested = infer(client, block(ROWS, [3, 4])).get_json()
    assert flat == nested
    assert flat["outputs"][0]["data"] == ["setosa", "virginica", "versicolor"]
    assert [(each["shape"], len(each["data"])) for each in flat["outputs"]] == [([3], 3), ([3], 3), ([3, 3], 9)]
    assert "id" not in flat


def test_null_and_the_empty_string_are_missing_where_that_is_allowed(client: FlaskClient) -> None:
    def trips(distance: Any, datatype: str) -> Any:
        inputs = [
            {"name": "distance", "datatype": datatype, "shape": [2], "data": distance},
            {"name": "carrier", "datatype": "BYTES", "shape": [2, 1], "data": [["BB"], ["AA"]]},
            {"name": "weekend", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        ]
        return infer(client, {"inputs": inputs}, "trip").get_json()["outputs"]

    wanted = predictions(client, "trip", [TRIPS[0] | {"distance": 10}, TRIPS[1]])
    for datatype in ("FP32", "FP64", "INT64"):
        found = trips([10, None], datatype)[2]["data"]
        assert found == [share for each in wanted for share in each["probabilities"].values()]
    refused = infer(client, block([None, 1, 1, 1], [1, 4]))
    assert (refused.status_code, "inputs.X[0][0]" in refused.get_json()["error"]) == (422, True)


def test_only_the_outputs_asked_for_come_each_in_its_own_form(client: FlaskClient) -> None:
    wanted = [{"name": "class_index"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    response = infer(client, block(ROWS, [3, 4], outputs=wanted, id="a"))
    size = int(response.headers["Inference-Header-Content-Length"])
    head = json.loads(response.data[:size])
    assert response.content_type == "application/octet-stream"
    assert head["id"] == "a"
    assert [each["name"] for each in head["outputs"]] == ["class_index", "probabilities"]
    assert head["outputs"][0]["data"] == [0, 2, 1]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": 72}
    assert np.frombuffer(response.data[size:], "<f8").reshape(3, 3).argmax(axis=1).tolist() == [0, 2, 1]


def test_an_answer_is_compressed_when_the_caller_takes_that(client: FlaskClient) -> None:
    plain = infer(client, block(ROWS, [3, 4]))
    assert "Content-Encoding" not in plain.headers
    for accepted, unpack in (("gzip, deflate", gzip.decompress), ("deflate", zlib.decompress)):
        packed = infer(client, block(ROWS, [3, 4]), Accept_Encoding=accepted)
        assert unpack(packed.data) == plain.data
    assert "Content-Encoding" not in infer(client, block(ROWS, [3, 4]), Accept_Encoding="gzip;q=0").headers


def test_no_rows_get_no_answers(client: FlaskClient) -> None:
    answer = infer(client, block([], [0, 4])).get_json()
    assert [each["shape"] for each in answer["outputs"]] == [[0], [0], [0, 3]]


def strings(*words: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


def binary_trip(carriers: bytes, size: int | None = None) -> tuple[bytes, str]:
    head = {
        "inputs": [
            {"name": "distance", "datatype": "FP32", "shape": [2], "data": [1, 2]},
            {"name": "weekend", "datatype": "BOOL", "shape": [2], "parameters": {"binary_data_size": 2}},
            {
                "name": "carrier",
                "datatype": "BYTES",
                "shape": [2],
                "parameters": {"binary_data_size": len(carriers) if size is None else size},
            },
        ]
    }
    text = json.dumps(head).encode()
    return text + b"\x01\x00" + carriers, str(len(text))


@pytest.mark.parametrize(
    ("carriers", "status", "message"),
    [
        (strings(b"AA", b"BB"), 200, ""),
        (strings(b"AA", b"BBB"), 422, "a string of 3 characters"),
        (strings(b"AA", b"\xff\xfe"), 422, "inputs.carrier[1]"),
        (strings(b"AA", b"\xff"), 422, "inputs.carrier[1]"),
        (strings(b"AA"), 400, "are not 2 string(s)"),
        (strings(b"AA", b"BB", b"CC"), 400, "are not 2 string(s)"),
        (strings(b"AA") + b"\xff\xff\xff\xff", 400, "are not 2 string(s)"),
        (b"\x00", 400, "are not 2 string(s)"),
        (b"", 400, "are not 2 string(s)"),
    ],
)
def test_strings_in_binary_form_each_follow_their_length(
    client: FlaskClient, carriers: bytes, status: int, message: str
) -> None:
    body, size = binary_trip(carriers)
    response = infer(client, body, "trip", Inference_Header_Content_Length=size)
    assert response.status_code == status, response.text
    assert message in response.get_json().get("error", "")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "not an inference request"),
        (b"{", "not an inference request"),
        ([], "not an inference request"),
        ({}, "not an inference request"),
        (b'{"inputs": ' + b"[" * 100_000, "levels of nesting"),
        ({"inputs": [], "id": 7}, "not an inference request"),
        ({"inputs": []}, "input 'sepal_length' is missing"),
        (block(ROWS, [3, 4], "FP33"), "datatype must be one of BOOL, UINT8"),
        (block(ROWS, [3, 4], "BYTES"), "datatype must be numeric; found BYTES"),
        (block([["a"] * 4], [1, 4], "BYTES"), "datatype must be numeric"),
        (block(ROWS, [2, 4]), "flat or nested as shape [2, 4]"),
        (block([1, 2, 3], [1, 4]), "has 4 elements; found 3"),
        (block([[1, 2], [3, 4, 5]], [1, 4]), "flat or nested"),
        (block([1, "2", 3, 4], [1, 4]), "flat or nested"),
        (block([1, True, 3, 4], [1, 4]), "flat or nested"),
        (block([1, 2, 3, 300], [1, 4], "INT8"), "beyond INT8"),
        (block([1, 2, 3, 1.5], [1, 4], "INT64"), "flat or nested"),
        (block(b"".decode(), [1, 4]), "flat or nested"),
        (block([1, 2, 3, 4], [-1, 4]), "none of them negative"),
        (block([1, 2, 3, 4], []), "one to eight sizes"),
        ({"inputs": [{"name": "X", "datatype": "FP64", "shape": [1, 4]}]}, "expected data"),
        ({"inputs": block(ROWS, [3, 4])["inputs"] * 2}, "given more than once"),
        (block(ROWS, [3, 4], outputs=[{"name": "label"}] * 2), "requested more than once"),
        (block(ROWS, [3, 4], parameters={"binary_data_output": "yes"}), "must be true or false"),
        (block(ROWS, [3, 4], outputs=[{"name": "label", "parameters": {"binary_data": 1}}]), "must be true or false"),
    ],
)
def test_what_is_no_request_of_the_protocol_is_400_and_says_why(
    client: FlaskClient, document: Any, message: str
) -> None:
    response = infer(client, document)
    assert response.status_code == 400
    assert response.content_type == "application/json"
    assert set(response.get_json()) == {"error"}
    assert message in response.get_json()["error"]


@pytest.mark.parametrize("size", ["-1", "x", "", "999999", "9" * 50, "1e2", "٣"])
def test_the_length_of_the_json_part_is_a_number_within_the_body(client: FlaskClient, size: str) -> None:
    response = infer(client, block(ROWS, [3, 4]), Inference_Header_Content_Length=size.encode().decode("latin-1"))
    assert response.status_code == 400


@pytest.mark.parametrize("size", [-1, 3, 10**30, "8", 1.5, True])
def test_the_size_of_a_binary_tensor_is_that_of_its_elements(client: FlaskClient, size: Any) -> None:
    body, head = binary_trip(strings(b"AA", b"BB"), size)
    response = infer(client, body, "trip", Inference_Header_Content_Length=head)
    assert response.status_code == 400


def test_bytes_that_belong_to_no_tensor_are_told(client: FlaskClient) -> None:
    head = json.dumps(block(ROWS, [3, 4])).encode()
    response = infer(client, head + b"more", Inference_Header_Content_Length=str(len(head)))
    assert "the inputs have 0 byte(s) after the JSON part; found 4" in response.get_json()["error"]


def whole_trip(distances: list[float], carriers: bytes, weekends: bytes) -> tuple[bytes, str]:
    """Return a request of nothing but binary tensors, whose JSON part is the same for as many bytes of each."""
    data = {"distance": ("FP32", struct.pack(f"<{len(distances)}f", *distances)), "carrier": ("BYTES", carriers)}
    data["weekend"] = ("BOOL", weekends)
    heads = [
        {"name": name, "datatype": kind, "shape": [len(distances)], "parameters": {"binary_data_size": len(octets)}}
        for name, (kind, octets) in data.items()
    ]
    text = json.dumps({"inputs": heads}).encode()
    return text + b"".join(octets for _, octets in data.values()), str(len(text))


def test_a_json_part_that_comes_again_says_the_same_of_other_tensors(client: FlaskClient) -> None:
    for carriers, distances in (([b"AA", b"BB"], [1, 2]), ([b"CC", b"AA"], [30, 4]), ([b"AA", b"BB"], [1, 2])):
        body, size = whole_trip(distances, strings(*carriers), b"\0\1")
        found = infer(client, body, "trip", Inference_Header_Content_Length=size).get_json()["outputs"][2]["data"]
        rows = [
            {"distance": distance, "carrier": carrier.decode(), "weekend": weekend}
            for distance, carrier, weekend in zip(distances, carriers, (False, True), strict=True)
        ]
        wanted = predictions(client, "trip", rows)
        assert found == [share for each in wanted for share in each["probabilities"].values()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body[:-1], "the inputs have 22 byte(s) after the JSON part; found 21"),
        (lambda body: body + b"\0", "the inputs have 22 byte(s) after the JSON part; found 23"),
        (lambda body: body[:-1] + b"\2", "byte of 0 or 1"),
        (lambda body: body.replace(b"AA", b"ZZ"), "inputs.carrier[0]"),
        (lambda body: body.replace(b"\2\0\0\0AA", b"\3\0\0\0AA"), "are not 2 string(s)"),
    ],
)
def test_a_json_part_that_comes_again_excuses_no_fault_of_the_tensors(
    client: FlaskClient, change: Callable[[bytes], bytes], message: str
) -> None:
    body, size = whole_trip([1, 2], strings(b"AA", b"BB"), b"\0\1")
    answers = [infer(client, sent, "trip", Inference_Header_Content_Length=size) for sent in (body, change(body), body)]
    assert [answer.status_code for answer in answers] in ([200, 400, 200], [200, 422, 200])
    assert message in answers[1].get_json()["error"]


def test_a_json_part_is_remembered_for_one_model_only(client: FlaskClient) -> None:
    body, size = whole_trip([1, 2], strings(b"AA", b"BB"), b"\0\1")
    assert infer(client, body, "trip", Inference_Header_Content_Length=size).status_code == 200
    refused = infer(client, body, "iris", Inference_Header_Content_Length=size)
    assert "input 'sepal_length' is missing" in refused.get_json()["error"]


def test_more_json_parts_than_are_remembered_are_all_answered(client: FlaskClient) -> None:
    for rows in [*range(1, MAX_CACHED + 5), 1]:
        body, size = whole_trip([1.0] * rows, strings(*[b"AA"] * rows), bytes(rows))
        outputs = infer(client, body, "trip", Inference_Header_Content_Length=size).get_json()["outputs"]
        assert outputs[0]["shape"] == [rows]


def test_a_byte_that_is_neither_0_nor_1_is_no_bool(client: FlaskClient) -> None:
    body, head = binary_trip(strings(b"AA", b"BB"))
    response = infer(
        client, body.replace(b"\x01\x00\x02", b"\x07\x00\x02"), "trip", Inference_Header_Content_Length=head
    )
    assert "byte of 0 or 1" in response.get_json()["error"]


def test_a_bomb_is_not_unpacked(client: FlaskClient, settled: Any) -> None:
    limit = settled.harness.settings.service_max_bytes
    response = infer(client, gzip.compress(b" " * (limit + 1)), Content_Encoding="gzip")
    assert response.status_code == 413
    assert "after decompression" in response.get_json()["error"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-3], "gzip", 400),
        (b"x", "br", 415),
        (b"", "deflate", 400),
    ],
    ids=["no gzip", "gzip without its end", "another encoding", "nothing"],  # pytest's own would hold the bytes
)
def test_what_is_not_what_its_encoding_says_is_refused(
    client: FlaskClient, body: bytes, encoding: str, status: int
) -> None:
    response = infer(client, body, Content_Encoding=encoding)
    assert response.status_code == status
    assert set(response.get_json()) == {"error"}


def test_mutated_requests_never_meet_a_fault_of_our_own(client: FlaskClient) -> None:
    chance = random.Random(0)  # noqa: S311  # mutations, not secrets
    tokens = [
        *b'{}[],:"-0',
        *(b"null", b"NaN", b"1e400", b"\\ud800", b"\xff", b"true", b'"BOOL"', b"9" * 30, b"\0\0\0"),
    ]
    seeds = [
        ("trip", *binary_trip(strings(b"AA", b"BB"))),
        ("trip", *binary_trip(strings(b"AA", b"BBB"))),
        ("iris", json.dumps(block(ROWS, [3, 4], outputs=[{"name": "label"}], id="a")).encode(), None),
    ]
    for _ in range(3_000):
        name, seed, size = chance.choice(seeds)
        body = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            at, token = chance.randrange(len(body) + 1), chance.choice(tokens)
            body[at : at + chance.choice([0, 0, 1, 4])] = bytes([token]) if isinstance(token, int) else token
        if size and chance.random() < 0.9:  # mostly let the head's length follow the mutation
            size = str(max(0, int(size) + len(body) - len(seed)))
        headers = {"Inference-Header-Content-Length": size} if size else {}
        if chance.random() < 0.1:
            headers["Content-Encoding"] = chance.choice(["gzip", "deflate"])
        response = client.post(f"/v2/models/{name}/infer", data=bytes(body), headers=headers)
        assert response.status_code in {200, 400, 422}, (bytes(body), size, response.text)


def test_too_many_rows_are_413(client: FlaskClient, settled: Any) -> None:
    rows = settled.harness.settings.service_max_rows + 1
    assert infer(client, block([1] * rows * 4, [rows, 4])).status_code == 413


def test_errors_of_every_kind_have_the_protocols_form(client: FlaskClient) -> None:
    for response, status in (
        (client.get("/v2/models/irs"), 404),
        (client.get("/v2/models/iris/versions/9"), 404),
        (client.get("/v2/models/empty_one"), 503),
        (client.get("/v2/nowhere"), 404),
        (client.get("/v2/models/iris/infer"), 405),
    ):
        assert response.status_code == status
        assert set(response.get_json()) == {"error"}
        assert "X-Request-ID" in response.headers


def test_a_server_without_models_is_live_but_not_ready() -> None:
    client = create_app(Settings(), ModelRegistry(["iris"])).test_client()
    assert client.get("/v2/health/live").get_json() == {"live": True}
    assert (client.get("/v2/health/ready").status_code, client.get("/v2/models/iris/ready").status_code) == (503, 503)


def test_a_prediction_takes_compressed_bodies_too(client: FlaskClient, settled: Any) -> None:
    body = json.dumps({"features": ROWS}).encode()
    plain = client.post("/v1/models/iris/predict", data=body).get_json()["predictions"]
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        response = client.post("/v1/models/iris/predict", data=pack(body), headers={"Content-Encoding": encoding})
        assert response.get_json()["predictions"] == plain
    bomb = gzip.compress(b" " * (settled.harness.settings.service_max_bytes + 1))
    for sent, encoding, status in ((bomb, "gzip", 413), (body, "gzip", 400), (body, "br", 415)):
        response = client.post("/predict", data=sent, headers={"Content-Encoding": encoding})
        assert (response.status_code, response.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": [{"name": "X", "name": "X", "datatype": "FP64", "shape": [1, 4], "data": [1, 1, 1, 1]}]}',
        '{"id": "a", "id": "b", "inputs": [{"name": "X", "datatype": "FP64", "shape": [1, 4], "data": [1, 1, 1, 1]}]}',
        '{"inputs": [{"name": "X", "datatype": "FP64", "shape": [1, 4], "data": [1]}], "parameters": {"a": 1, "a": 2}}',
    ],
)
def test_a_member_written_twice_is_refused(client: FlaskClient, text: str) -> None:
    response = infer(client, text.encode())
    assert response.status_code == 422
    assert "a repeated member" in response.get_json()["error"]


def test_a_colon_or_a_member_of_ones_own_is_not_mistaken_for_a_doubled_one(client: FlaskClient) -> None:
    assert infer(client, block(ROWS, [3, 4], id="a:b", parameters={"own": {"a": 1}}, more="x:y")).status_code == 200


def test_the_client_works_with_the_service_as_it_really_runs(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("trip")
    harness.champion("trip")
    running = run_service()
    running.wait_until(lambda: running.ask("GET", "/v2/health/ready")[0] == 200)
    with InferenceServerClient(f"127.0.0.1:{running.port}") as triton:
        assert triton.is_server_live()
        assert triton.is_model_ready("trip", "1")
        for packing in (None, "gzip"):
            result = triton.infer(
                "trip",
                trip_inputs(binary=True),
                request_compression_algorithm=packing,
                response_compression_algorithm=packing,
            )
            assert result.as_numpy("probabilities").shape == (2, 2)
        with pytest.raises(InferenceServerException, match="input 'weekend' is missing"):
            triton.infer("trip", trip_inputs(binary=True)[:2])
