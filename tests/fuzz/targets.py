"""What is fuzzed: a target turns bytes into one request to the service in this process, and checks the response.

Whatever the bytes are: no exception leaves the application, no response is a 500, every response is JSON, and a 200 has
only finite numbers and the shape that the request asks for.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.request_cost import (
    GOOD,
    INFER,
    JOBS,
    LOOKUP,
    PREDICT,
    SCORES,
    SECRET,
    Request,
    bearer,
    environ_of,
    service,
)

ALLOWED: Final = frozenset({200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 503})
HEAD: Final = "INFERENCE_HEADER_CONTENT_LENGTH"


class Found(Exception):  # noqa: N818  # what a fuzzer looks for
    """A response that breaks a promise."""


class Response(NamedTuple):
    """A response of the application."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Target:
    """A parser that is reached from outside."""

    name: str
    seeds: Sequence[bytes]
    request: Callable[[bytes], Request]
    check: Callable[[bytes, Response], None] = lambda _data, _response: None
    authorized: bool = True


class Service:
    """The application, and a caller that may do everything."""

    def __init__(self, home: Path) -> None:
        self._app = service(home)
        self._authorization = bearer()
        self._asked = 0

    def ask(self, target: Target, data: bytes) -> Response:
        """Send the request that `data` is for `target`, and check the response.

        Raises
        ------
        Found
        """
        request = target.request(data)
        environ = environ_of(request, self._authorization)
        self._asked += 1  # each from another address: a limit of what one address may try would end the search
        environ["REMOTE_ADDR"] = f"10.{self._asked >> 16 & 255}.{self._asked >> 8 & 255}.{self._asked & 255}"
        if not target.authorized:
            environ["HTTP_AUTHORIZATION"] = request.headers["AUTHORIZATION"]
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(self._app(environ, lambda status, headers, _exc=None: started.append((status, headers))))
        status, headers = started[0]
        response = Response(int(status[:3]), {name.lower(): value for name, value in headers}, body)
        if response.status not in ALLOWED:
            raise Found(f"{target.name}: status {response.status}: {body[:300]!r}")
        if any("\r" in value or "\n" in value for value in response.headers.values()):
            raise Found(f"{target.name}: a header with a line break: {response.headers}")
        if response.status == 200:
            target.check(data, response)
        else:
            _strict(body)
        return response


def _refuse_constant(name: str) -> float:
    raise Found(f"the response has {name}")


def _strict(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise Found(f"the response is no JSON: {error}: {text[:300]!r}") from error


def _expect(condition: object, response: Response) -> None:
    if not condition:
        raise Found(f"a 200 of the wrong shape: {response.body[:500]!r}")


def _check_predictions(data: bytes, response: Response) -> None:
    said, asked = _strict(response.body), json.loads(data)["features"]
    many = isinstance(asked, list) and bool(asked) and isinstance(asked[0], list | dict)
    found = said["predictions"] if many else [said["prediction"]]
    _expect(len(found) == (len(asked) if many else 1), response)
    for each in found:
        shares = list(each["probabilities"].values())
        _expect(len(shares) == 2 and all(0 <= share <= 1 for share in shares), response)
        _expect(math.isclose(sum(shares), 1, abs_tol=1e-5) and each["label"] in each["probabilities"], response)


def _check_tensors(_data: bytes, response: Response) -> None:
    size = int(response.headers.get("inference-header-content-length", len(response.body)))
    said, rest = _strict(response.body[:size]), len(response.body) - size
    rows = {each["shape"][0] for each in said["outputs"]}
    _expect(len(rows) == 1, response)
    for each in said["outputs"]:
        if "data" in each:
            _expect(len(each["data"]) == prod(each["shape"]), response)
            _expect(all(math.isfinite(value) for value in each["data"] if not isinstance(value, str)), response)
        else:
            rest -= each["parameters"]["binary_data_size"]
    _expect(rest == 0, response)


def _with_head(data: bytes) -> Request:
    """Take the first two bytes as the length of the JSON part."""
    size, body = int.from_bytes(data[:2], "little"), data[2:]
    return Request(INFER, body, headers={HEAD: str(size)})


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _signed(data: bytes) -> str:
    signed = _base64(b'{"alg":"HS256","typ":"JWT"}') + b"." + _base64(data)
    return (signed + b"." + _base64(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


def _line(data: bytes) -> str:
    """Return the bytes as a server passes a line of the request's head: Latin-1, without line breaks."""
    return data.decode("latin-1").translate({13: None, 10: None, 0: None})


def _tensors(**columns: bytes) -> bytes:
    types = {"distance": b"FP32", "carrier": b"BYTES", "weekend": b"BOOL"}
    parts = [
        b'{"name":"%s","shape":[2],"datatype":"%s","data":%s}' % (name.encode(), types[name], data)
        for name, data in columns.items()
    ]
    return b'{"inputs":[' + b",".join(parts) + b"]}"


_JSON_TENSORS: Final = _tensors(distance=b"[10.5,null]", carrier=b'["AA","BB"]', weekend=b"[true,false]")
_BINARY_HEAD: Final = (
    b'{"inputs":[{"name":"distance","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}},'
    b'{"name":"carrier","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}},'
    b'{"name":"weekend","shape":[1],"datatype":"BOOL","parameters":{"binary_data_size":1}}],'
    b'"parameters":{"binary_data_output":true}}'
)
_CLAIMS: Final = (
    b'{"iss":"sluice","aud":"sluice","sub":"ann","iat":1700000000,"exp":4000000000,"scope":"predict scores",'
)

TARGETS: Final = (
    Target(
        "V1",
        [
            b'{"features":' + GOOD + b"}",
            b'{"features":[' + GOOD + b"," + GOOD + b"]}",
            b'{"features":[10.5,"BB",true]}',
            b'{"features":[[null,"AA",false],[1e3,"CC",true]]}',
            b'{"features":{"distance":1e400,"carrier":"\\ud800","weekend":NaN,"weekend":1}}',
        ],
        lambda data: Request(PREDICT, data),
        _check_predictions,
    ),
    Target(
        "V1 as gzip",
        [gzip.compress(b'{"features":' + GOOD + b"}", mtime=0), gzip.compress(b"[" * 3000, mtime=0)],
        lambda data: Request(PREDICT, data, headers={"CONTENT_ENCODING": "gzip", "ACCEPT_ENCODING": "gzip;q=0"}),
    ),
    Target(
        "V2 JSON",
        [
            _JSON_TENSORS,
            _JSON_TENSORS[:-1] + b',"id":"x","parameters":null,"outputs":[{"name":"label","parameters":{"a":1}}]}',
            _tensors(distance=b"[[NaN],[1e400]]", carrier=b'["NaN","\\""]', weekend=b"[[0,1]]"),
        ],
        lambda data: Request(INFER, data),
        _check_tensors,
    ),
    Target(
        "V2 binary",
        [
            len(_BINARY_HEAD).to_bytes(2, "little") + _BINARY_HEAD + b"\x00\x00\x20\x41\x02\x00\x00\x00BB\x01",
            len(_JSON_TENSORS).to_bytes(2, "little") + _JSON_TENSORS,
        ],
        _with_head,
        _check_tensors,
    ),
    Target(
        "token",
        [
            bearer().encode(),
            b"Bearer " + _signed(_CLAIMS + b'"models":["trip"]}').encode(),
            b"Bearer " + _base64(b'{"alg":"none"}') + b"." + _base64(b"{}") + b".",
        ],
        lambda data: Request(PREDICT, b'{"features":' + GOOD + b"}", headers={"AUTHORIZATION": _line(data)}),
        authorized=False,
    ),
    Target(
        "claims",
        [_CLAIMS + b'"models":["trip"]}', _CLAIMS + b'"nbf":1e400,"jti":null}', _CLAIMS[:-1] + b"}"],
        lambda data: Request(
            PREDICT, b'{"features":' + GOOD + b"}", headers={"AUTHORIZATION": f"Bearer {_signed(data)}"}
        ),
        authorized=False,
    ),
    Target(
        "query",
        [
            b"history=true&limit=10",
            b"history=true&cursor=abc",
            b"",
            b"partition=2026-01-31",
            b"partition=2026-01-31&at=2026-01-31T12:00:00Z",
            b"a=%ff&b=%00&&=;",
        ],
        lambda data: Request(f"{SCORES}k1", method="GET", query=_line(data)),
    ),
    Target(
        "OpenAPI query",
        [b"model=trip", b"model=%00&model="],
        lambda data: Request("/openapi.json", method="GET", query=_line(data)),
        lambda _data, response: _expect("paths" in _strict(response.body), response),
    ),
    Target("key", [b"k1", b"a/b", b"\xff\x00", b"../.."], lambda data: Request(SCORES + _line(data), method="GET")),
    Target(
        "path",
        [b"v1/models/trip", b"v2/models/trip/versions/1", b"//x"],
        lambda data: Request("/" + _line(data), method="GET"),
    ),
    Target(
        "keys",
        [b'{"keys":["a","b"]}', b'{"keys":[1,"\\ud800"],"partition":"2026-01-31"}'],
        lambda data: Request(LOOKUP, data),
    ),
    Target("jobs", [b'{"features":[' + GOOD + b"]}"], lambda data: Request(JOBS, data)),
    Target(
        "headers",
        [b"traceparent\n00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"id-1\ngzip, *;q=0", b"\nx"],
        lambda data: Request(
            PREDICT,
            b'{"features":' + GOOD + b"}",
            headers=dict.fromkeys(
                ("TRACEPARENT", "X_REQUEST_ID", "ACCEPT_ENCODING", "CONTENT_ENCODING"), _line(data[:200])
            )
            | {"CONTENT_ENCODING": _line(data[200:])},
        ),
    ),
)
