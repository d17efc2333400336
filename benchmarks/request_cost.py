"""What one request costs: for each kind of input, bytes against processor time, by doubling to the input's limit.

    .venv/bin/python benchmarks/request_cost.py [--repeats 3]

Every request goes through the whole service in this process, with tokens on and without a database: what the database
does is not counted. An input whose time grows as its bytes do has a time a byte that stays the same, so the last column
is close to 1. `tests/model_service/test_request_cost.py` counts operations of the same inputs, without a clock.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.serving_peers.wsgi import base_environ  # noqa: E402  # found by the line above

SECRET = "a secret of this benchmark, 32 bytes or more"  # noqa: S105  # it signs tokens of this process only
MODEL = "trip"
KIB, MIB = 1024, 1024 * 1024
BODY, JOB, LINE = 4 * MIB, 16 * MIB, 64 * KIB  # the default limits; granian ends a request's head at about 64 KiB
LIMIT_SECONDS = 0.05
PREDICT, INFER, LOOKUP = f"/v1/models/{MODEL}/predict", f"/v2/models/{MODEL}/infer", f"/v1/models/{MODEL}/scores:lookup"
JOBS, SCORES = f"/v1/models/{MODEL}/predict_async", f"/v1/models/{MODEL}/scores/"
GOOD = b'{"distance":10.5,"carrier":"BB","weekend":true}'


@dataclass(frozen=True)
class Request:
    """One request, as a server hands it to the application."""

    path: str
    body: bytes = b""
    method: str = "POST"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of bytes that the client chooses."""
        return len(self.body) + len(self.query) + len(self.path) + sum(map(len, self.headers.values()))


class Kind(NamedTuple):
    """A kind of input: `make` returns the request of about so many bytes, up to `limit`."""

    name: str
    limit: int
    make: Callable[[int], Request]


def _filled(before: bytes, unit: bytes, after: bytes, size: int, between: bytes = b",") -> bytes:
    count = max(2, (size - len(before) - len(after)) // (len(unit) + len(between)))
    return before + between.join([unit] * count) + after


def _numbered(before: bytes, unit: bytes, after: bytes, size: int) -> bytes:
    count = max(2, (size - len(before) - len(after)) // (len(unit) + 6))
    return before + b",".join([unit % at for at in range(count)]) + after


def _post(path: str, build: Callable[[int], bytes], **headers: str) -> Callable[[int], Request]:
    return lambda size: Request(path, build(size), headers=headers)


def _json_kinds() -> Iterator[Kind]:
    row, rows = b'{"features":{', b'{"features":['
    inputs = {
        "a member repeated in one row": lambda size: _filled(row, b'"a":1', b"}}", size),
        "pairs of repeated members": lambda size: (
            row + b",".join([b'"%06d":1' % (at // 2) for at in range(max(2, size // 11))]) + b"}}"
        ),
        "rows with repeated members": lambda size: _filled(rows, b'{"a":1,"a":1}', b"]}", size),
        "unknown members": lambda size: _numbered(row, b'"%06d":1', b"}}", size),
        "unknown members beside features": lambda size: _numbered(b'{"features":[1],', b'"%06d":1', b"}", size),
        "valid rows": lambda size: _filled(rows, GOOD, b"]}", min(size, 10_000 * (len(GOOD) + 1))),
        "valid rows, colons in strings": lambda size: _filled(
            rows, GOOD.replace(b"BB", b"B:::B"), b"]}", min(size, 10_000 * (len(GOOD) + 4))
        ),
        "an error in the last row": lambda size: _filled(
            rows, GOOD, b',{"x":1}]}', min(size, 10_000 * (len(GOOD) + 1))
        ),
        "NaN in the last row": lambda size: _filled(rows, b"[1,2]", b",[NaN,1]]}", min(size, 60_000)),
        "numbers in one row": lambda size: _filled(rows, b"1", b"]}", size),
        "strings in one of several rows": lambda size: _filled(rows + b"[1],[", b'"a"', b"],[2]]}", size),
        "one integer": lambda size: b'{"features":[' + b"9" * size + b"]}",
        "integers of 4,000 digits": lambda size: _filled(rows, b"9" * 4000, b"]}", size),
        "one fraction": lambda size: b'{"features":[0.' + b"1" * size + b"]}",
        "1e400 many times": lambda size: _filled(rows, b"1e400", b"]}", size),
        "empty strings": lambda size: _filled(rows, b'""', b"]}", size),
        "backslashes": lambda size: b'{"features":["' + b"\\\\" * (size // 2) + b'"]}',
        "escaped quotes and brackets": lambda size: b'{"features":["' + b'\\"[' * (size // 3) + b'"]}',
        "nesting beyond the limit": lambda size: b'{"features":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
        "nesting to the limit, often": lambda size: _filled(rows, b"[" * 60 + b"]" * 60, b"]}", size),
        "objects in objects, one repeated at the end": lambda size: _filled(
            rows, b"{}", b',{"a":1,"a":1}]}', min(size, 30_000)
        ),
        "objects in one row, one repeated at the end": lambda size: _filled(
            b'{"features":[1,', b"{}", b',{"a":1,"a":1}]}', size
        ),
        "numbers, and no end": lambda size: _filled(rows, b"1", b"", size),
        "no UTF-8": lambda size: b'{"features":["' + b"\xff" * size + b'"]}',
        "spaces": lambda size: b" " * size + b'{"features":[1]}',
    }
    for name, build in inputs.items():
        yield Kind(f"V1: {name}", BODY, _post(PREDICT, build))
    yield Kind("V1: zeros, as gzip", 4 * KIB, _post(PREDICT, _bomb, CONTENT_ENCODING="gzip"))
    yield Kind(
        "V1: repeated members, as gzip",
        24 * KIB,
        lambda size: Request(
            PREDICT,
            gzip.compress(_filled(row, b'"a":1', b"}}", size * 170), mtime=0),
            headers={"CONTENT_ENCODING": "gzip"},
        ),
    )
    for name in ("rows with repeated members", "a member repeated in one row", "unknown members"):
        yield Kind(f"jobs: {name}", JOB, _post(JOBS, inputs[name]))
    yield Kind("jobs: valid rows", JOB, _post(JOBS, lambda size: _filled(rows, GOOD, b"]}", min(size, 4_700_000))))
    keys = b'{"keys":['
    lookups = {
        "valid keys": lambda size: _filled(keys, b'"k"', b"]}", min(size, 4_000)),
        "too many keys": lambda size: _filled(keys, b'"k"', b"]}", size),
        "a member repeated": lambda size: _filled(b"{", b'"keys":1', b"}", size),
        "a key of colons": lambda size: keys + b'"' + b":" * size + b'"]}',
        "keys of half a surrogate pair": lambda size: _filled(keys, b'"\\ud800"', b"]}", min(size, 9_000)),
    }
    for name, build in lookups.items():
        yield Kind(f"look-up: {name}", BODY, _post(LOOKUP, build))


def _bomb(size: int) -> bytes:
    return gzip.compress(b"0" * (size * 1000), mtime=0)


def _tensor(name: str, datatype: str, rows: int, data: bytes) -> bytes:
    return b'{"name":"%s","datatype":"%s","shape":[%d],"data":%s}' % (name.encode(), datatype.encode(), rows, data)


def _columns(size: int, distance: bytes = b"1.5", carrier: bytes = b'"BB"') -> bytes:
    rows = min(10_000, max(2, size // (len(distance) + len(carrier) + 7)))
    tensors = (
        _tensor("distance", "FP64", rows, b"[" + b",".join([distance] * rows) + b"]"),
        _tensor("carrier", "BYTES", rows, b"[" + b",".join([carrier] * rows) + b"]"),
        _tensor("weekend", "BOOL", rows, b"[" + b",".join([b"true"] * rows) + b"]"),
    )
    return b'{"inputs":[' + b",".join(tensors) + b"]}"


def _binary(size: int, word: bytes) -> Request:
    rows = min(10_000, max(2, size // (13 + len(word))))
    head = json.dumps(
        {
            "inputs": [
                {"name": name, "datatype": kind, "shape": [rows], "parameters": {"binary_data_size": each * rows}}
                for name, kind, each in (
                    ("distance", "FP64", 8),
                    ("carrier", "BYTES", 4 + len(word)),
                    ("weekend", "BOOL", 1),
                )
            ]
        }
    ).encode()
    strings = (len(word).to_bytes(4, "little") + word) * rows
    body = head + bytes(8 * rows) + strings + bytes(rows)
    return Request(INFER, body, headers={"INFERENCE_HEADER_CONTENT_LENGTH": str(len(head))})


def _mixed_strings(size: int) -> Request:
    """Strings of many lengths in a tensor whose JSON part tells a wrong number of them."""
    strings = b"".join([(at % 9).to_bytes(4, "little") + b"x" * (at % 9) for at in range(max(2, size // 8))])
    head = b'{"inputs":[{"name":"carrier","datatype":"BYTES","shape":[3],"parameters":{"binary_data_size":%d}}' % len(
        strings
    )
    for name, kind in (("distance", "FP64"), ("weekend", "BOOL")):
        head += b"," + _tensor(name, kind, 3, b"[1,1,1]" if kind == "FP64" else b"[true,true,true]")
    head += b"]}"
    return Request(INFER, head + strings, headers={"INFERENCE_HEADER_CONTENT_LENGTH": str(len(head))})


def _tensor_kinds() -> Iterator[Kind]:
    one = _tensor("a", "FP64", 1, b"[1]")
    inputs = {
        "valid columns": _columns,
        "strings of colons": lambda size: _columns(size, carrier=b'"::::"'),
        "NaN in every row": lambda size: _columns(size, distance=b"NaN"),
        "1e400 in every row": lambda size: _columns(size, distance=b"1e400"),
        "unknown inputs": lambda size: _filled(b'{"inputs":[', one, b"]}", size),
        "unknown inputs of other names": lambda size: _numbered(
            b'{"inputs":[', one.replace(b'"a"', b'"%06d"'), b"]}", size
        ),
        "inputs with every fault": lambda size: _filled(
            b'{"inputs":[', b'{"name":"a","datatype":"b","shape":[]}', b"]}", size
        ),
        "a shape of many sizes": lambda size: _filled(
            b'{"inputs":[{"name":"a","datatype":"FP64","data":[1],"shape":[', b"1", b"]}]}", size
        ),
        "more values than the shape": lambda size: _filled(
            b'{"inputs":[{"name":"distance","datatype":"FP64","shape":[1],"data":[', b"1", b"]}]}", size
        ),
        "a nested tensor": lambda size: _filled(
            b'{"inputs":[{"name":"distance","datatype":"FP64","shape":[1],"data":[', b"[1]", b"]}]}", size
        ),
        "outputs requested often": lambda size: _filled(
            b'{"inputs":[' + one + b'],"outputs":[', b'{"name":"label"}', b"]}", size
        ),
        "parameters repeated": lambda size: _filled(b'{"inputs":[' + one + b'],"parameters":{', b'"a":1', b"}}", size),
        "a member repeated": lambda size: _filled(b"{", b'"inputs":[]', b"}", size),
    }
    for name, build in inputs.items():
        yield Kind(f"V2 JSON: {name}", BODY, _post(INFER, build))
    yield Kind("V2 binary: known strings", BODY, lambda size: _binary(size, b"BB"))
    yield Kind("V2 binary: unknown strings", BODY, lambda size: _binary(size, b"Z"))
    yield Kind("V2 binary: long strings", BODY, lambda size: _binary(size, b"x" * 300))
    yield Kind("V2 binary: empty strings", BODY, lambda size: _binary(size, b""))
    yield Kind("V2 binary: more strings than the JSON part says", BODY, _mixed_strings)


def _line_kinds() -> Iterator[Kind]:
    def query(unit: str) -> Callable[[int], Request]:
        return lambda size: Request(SCORES + "k", method="GET", query=unit * (size // len(unit)))

    def header(name: str, unit: str, before: str = "", after: str = "") -> Callable[[int], Request]:
        return lambda size: Request(
            PREDICT, b'{"features":[1]}', headers={name: before + unit * (size // len(unit)) + after}
        )

    yield Kind("query: a parameter repeated", LINE, query("history=true&"))
    yield Kind("query: unknown parameters", LINE, query("a=1&"))
    yield Kind("query: only separators", LINE, query("&"))
    yield Kind("query: escapes", LINE, query("%C3%A4"))
    yield Kind(
        "query: a long cursor",
        LINE,
        lambda size: Request(SCORES + "k", method="GET", query="history=true&cursor=" + "A" * size),
    )
    yield Kind(
        "query: a long time", LINE, lambda size: Request(SCORES + "k", method="GET", query="partition=" + "2" * size)
    )
    yield Kind("path: a long key", LINE, lambda size: Request(SCORES + "k" * size, method="GET"))
    yield Kind("path: slashes", LINE, lambda size: Request("/" * size, method="GET"))
    yield Kind("path: a long version", LINE, lambda size: Request(f"/v1/models/{MODEL}/versions/{'9' * size}/predict"))
    yield Kind("header: Accept-Encoding", LINE, header("ACCEPT_ENCODING", "a;q=0,"))
    yield Kind("header: Content-Encoding", LINE, header("CONTENT_ENCODING", "gzip,"))
    yield Kind("header: traceparent", LINE, header("TRACEPARENT", "0", "00-"))
    yield Kind("header: X-Request-ID", LINE, header("X_REQUEST_ID", "a"))
    yield Kind("header: spaces in Authorization", LINE, header("AUTHORIZATION", " ", "Bearer ", "a"))
    yield Kind("token: dots", LINE, header("AUTHORIZATION", ".", "Bearer "))
    yield Kind("token: a deep header", 8 * KIB, _deep_token)
    yield Kind("token: a header of digits", 8 * KIB, lambda size: _token(b'{"alg":' + b"9" * (size * 3 // 4) + b"}"))


def _token(header: bytes) -> Request:
    encoded = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
    return Request(PREDICT, b'{"features":[1]}', headers={"AUTHORIZATION": f"Bearer {encoded}.e30.AAAA"})


def _deep_token(size: int) -> Request:
    return _token(b"[" * (size * 3 // 4))


KINDS = (*_json_kinds(), *_tensor_kinds(), *_line_kinds())


def service(home: Path) -> Any:
    """Return the WSGI application with one loaded model, tokens on, and no database."""
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    from include.inference import ModelSignature, Scorer
    from include.settings import Pin, Settings
    from include.spec import Boolean, Categorical, EntityKey, Numeric
    from model_service import ModelRegistry, create_app
    from model_service.models.registry import LoadedModel

    signature = ModelSignature(
        model=MODEL,
        event_time="at",
        entity_key=EntityKey(column="id"),
        task="binary",
        classes=("on_time", "late"),
        features=(
            Numeric(name="distance", unit="km", minimum=0, maximum=1000, nullable=True),
            Categorical(name="carrier", categories=("AA", "BB", "CC")),
            Boolean(name="weekend"),
        ),
    )
    draw = np.random.default_rng(0)
    matrix = np.column_stack([draw.uniform(0, 1000, 300), draw.integers(-1, 3, 300), draw.integers(0, 2, 300)])
    matrix = np.nan_to_num(matrix).astype(np.float32)
    estimator = LogisticRegression(max_iter=1000).fit(matrix, (matrix[:, 0] > 500).astype(int))
    graph = to_onnx(estimator, matrix[:1], options={id(estimator): {"zipmap": False}}).SerializeToString()
    settings = Settings(home=home, auth_secret=SECRET, service_access_log="off", database_url=None)
    registry = ModelRegistry([MODEL])
    registry[MODEL].current = LoadedModel(Scorer(graph, signature), Pin(version=1, artifact_digest="0" * 64))
    return create_app(settings, registry).wsgi_app


def bearer() -> str:
    """Return the value of ``Authorization`` of a caller that may do everything."""
    import jwt

    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "sluice", "aud": "sluice", "sub": "cost", "iat": now, "exp": now + 3600}
    return "Bearer " + jwt.encode(claims | {"scope": "predict scores models"}, SECRET, algorithm="HS256")


def environ_of(request: Request, authorization: str) -> dict[str, Any]:
    """Return the WSGI environment of a request."""
    environ = base_environ(request.method, request.path, len(request.body), authorization)
    headers = {f"HTTP_{name}": value for name, value in request.headers.items()}
    return environ | {"QUERY_STRING": request.query, "wsgi.input": io.BytesIO(request.body), **headers}


def answer(app: Any, environ: dict[str, Any]) -> tuple[int, bytes]:
    """Return status and body of the response."""
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, _headers, _exc_info=None: statuses.append(status)))
    return int(statuses[0][:3]), body


def sizes(limit: int, steps: int = 5) -> list[int]:
    """Return sizes that double up to `limit`."""
    return [limit >> step for step in reversed(range(steps))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        app, authorization = service(Path(home)), bearer()
        print("| kind of input | status | bytes: processor time in ms, by doubling | a byte, last to first |")
        print("|---|--:|---|--:|")
        worst = []
        for kind in KINDS:
            points, status = [], 0
            for size in sizes(int(kind.limit * 0.98)):
                request = kind.make(size)
                seconds = []
                for _ in range(arguments.repeats):
                    environ = environ_of(request, authorization)
                    began = time.process_time()
                    status, _ = answer(app, environ)
                    seconds.append(time.process_time() - began)
                points.append((request.size, min(seconds)))
            worst.append((points[-1][1], kind.name))
            growth = (points[-1][1] / points[-1][0]) / (points[0][1] / points[0][0])
            cells = " · ".join(f"{size:,}: {seconds * 1e3:.1f}" for size, seconds in points)
            print(f"| {kind.name} | {status} | {cells} | {growth:.2f} |", flush=True)
        print()
        for seconds, name in sorted(worst, reverse=True)[:5]:
            print(f"{seconds * 1e3:.0f} ms: {name}")
        over = sum(seconds > LIMIT_SECONDS for seconds, _ in worst)
        print(f"{over} of {len(worst)} kinds take more than {LIMIT_SECONDS * 1e3:.0f} ms at their limit.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
