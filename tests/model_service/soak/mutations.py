"""Requests that are not quite right: valid bodies with a few bytes replaced, and unusual headers."""

from __future__ import annotations

import json
import random

SETOSA = [5.1, 3.5, 1.4, 0.2]
TRIP = {"distance": 10.5, "carrier": "BB", "weekend": True}
HEADERS = {"Content-Type": "application/json"}
# Routes that need no database: what a slow one does to the others is test_database_down's.
PATHS = (
    "/predict",
    "/v1/models/trip/predict",
    "/v1/models/iris/versions/1/predict",
    "/v2/models/iris/infer",
    "/v2/models/trip/infer",
)
TOKENS = (*b'{}[],:"-', b"null", b"NaN", b"1e400", b"\\ud800", b"\xff", b"true", b'"features"', b"9" * 30, b'"shape"')


def bodies() -> list[bytes]:
    tensor = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": SETOSA}
    named = [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [10.5]},
             {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["BB"]},
             {"name": "weekend", "shape": [1], "datatype": "BOOL", "data": [True]}]  # fmt: skip
    made = [{"features": SETOSA}, {"features": TRIP}, {"features": [TRIP, list(TRIP.values())]},
            {"inputs": [tensor]}, {"inputs": named, "id": "a"}, {"keys": ["1", "2"]}]  # fmt: skip
    return [json.dumps(each).encode() for each in made]


def mutated(chance: random.Random, valid: list[bytes]) -> tuple[str, bytes, dict[str, str]]:
    body = bytearray(chance.choice(valid))
    for _ in range(chance.randint(0, 4)):
        at, token = chance.randrange(len(body) + 1), chance.choice(TOKENS)
        body[at : at + chance.choice([0, 0, 1, 4])] = bytes([token]) if isinstance(token, int) else token
    headers = dict(HEADERS)
    if chance.random() < 0.1:
        headers["Inference-Header-Content-Length"] = str(chance.choice([0, -1, 7, len(body), len(body) + 1, "x"]))
    if chance.random() < 0.03:
        headers["Content-Encoding"] = chance.choice(["gzip", "deflate", "br"])
    if chance.random() < 0.03:
        headers["Authorization"] = chance.choice(["Bearer x.y.z", "Basic eA==", "Bearer"])
    return chance.choice(PATHS), bytes(body), headers
