"""A connection that ends within a request: its body is never taken as whole, and its place is given back."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

ROW = [5.1, 3.5, 1.4, 0.2]
PREDICTION = json.dumps({"features": ROW}).encode()
TENSOR = {"name": "features", "datatype": "FP64", "shape": [1, 4]}
V2_JSON = json.dumps({"inputs": [TENSOR | {"data": ROW}]}).encode()
V2_HEAD = json.dumps({"inputs": [TENSOR | {"parameters": {"binary_data_size": 32}}]}).encode()
V2_BINARY = V2_HEAD + struct.pack("<4d", *ROW)
LOOK_UP = json.dumps({"keys": [1]}).encode()

ROUTES: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("/predict", PREDICTION, {}),
    ("/v1/models/iris/predict", gzip.compress(PREDICTION), {"Content-Encoding": "gzip"}),
    ("/v2/models/iris/infer", V2_JSON, {}),
    ("/v2/models/iris/infer", V2_BINARY, {"Inference-Header-Content-Length": str(len(V2_HEAD))}),
    ("/v1/models/iris/scores:lookup", LOOK_UP, {}),
    ("/v1/models/iris/predict_async", PREDICTION, {}),
)


@pytest.fixture
def service(harness: Any, run_service: Callable[..., Any]) -> Any:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_SERVICE_MAX_CONCURRENCY="4", SLUICE_SERVICE_QUERY_TIMEOUT_SECONDS="10")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    return service


def in_flight(port: int) -> float:
    """Return what the service reports; asking does not count."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("sluice_http_requests_in_flight ")))


def head(path: str, headers: dict[str, str]) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items()), "", "")
    return "\r\n".join(lines).encode()


def answer_to(service: Any, sent: bytes, *, then_end: bool = True) -> tuple[int, Any]:
    """Return what the service answers to `sent`, after which the client sends no more."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(sent)
        if then_end:
            time.sleep(0.01)  # the service has begun to read it
            connection.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


def test_a_body_shorter_than_its_length_is_400_wherever_it_is_cut(service: Any) -> None:
    for path, body, headers in ROUTES:
        start = head(path, headers | {"Content-Length": str(len(body) + 1)})
        whole = head(path, headers | {"Content-Length": str(len(body))})
        accepted, document = answer_to(service, whole + body, then_end=False)
        assert accepted in (200, 202), (path, document)
        for length in (0, 1, len(body) // 2, len(body) - 1, len(body)):
            status, problem = answer_to(service, start + body[:length])
            assert status == 400, (path, length, problem)
            found = problem.get("detail") or problem["error"]
            assert f"expected {len(body) + 1} bytes" in found
            assert f"found {length} " in found
    service.wait_until(lambda: in_flight(service.port) == 0)


def test_a_chunked_body_of_which_anything_is_missing_is_refused(service: Any) -> None:
    for path, body, headers in ROUTES:
        start = head(path, headers | {"Transfer-Encoding": "chunked"})
        accepted, document = answer_to(service, start + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), then_end=False)
        assert accepted in (200, 202), (path, document)
        for length in range(0, len(body), 7):
            status, problem = answer_to(service, start + b"%x\r\n%b" % (len(body), body[:length]))
            assert status in (400, 422), (path, length, problem)
        status, problem = answer_to(service, start + b"%x\r\n%b\r\n" % (len(body) - 1, body[:-1]))
        assert status in (400, 422), (path, problem)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_places_threads_and_processor_are_given_back_when_connections_end_in_a_body(service: Any) -> None:
    def open_all() -> list[socket.socket]:
        opened = []
        for framing in (f"Content-Length: {len(PREDICTION)}", "Transfer-Encoding: chunked"):
            for _ in range(2):
                connection = socket.create_connection(("127.0.0.1", service.port), timeout=10)
                connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + b"5\r\n{")
                opened.append(connection)
        service.wait_until(lambda: in_flight(service.port) == 4)
        return opened

    (worker,) = psutil.Process(service.process.pid).children()
    for end in (socket.socket.close, reset, lambda connection: connection.shutdown(socket.SHUT_RDWR)):
        opened = open_all()
        for connection in opened:
            end(connection)
        service.wait_until(lambda: in_flight(service.port) == 0)
        for connection in opened:
            connection.close()
    # A client that is killed: the kernel ends its connections.
    code = f"import socket, time\nc = [socket.create_connection(('127.0.0.1', {service.port})) for _ in range(4)]\n"
    code += r"[x.sendall(b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{') for x in c]"
    with subprocess.Popen([sys.executable, "-c", f"{code}\ntime.sleep(60)"]) as client:
        service.wait_until(lambda: in_flight(service.port) == 4)
        os.kill(client.pid, signal.SIGKILL)
    service.wait_until(lambda: in_flight(service.port) == 0)
    assert service.ask("POST", "/predict", {"features": ROW})[0] == 200
    before = sum(worker.cpu_times()[:2])
    time.sleep(2)
    assert sum(worker.cpu_times()[:2]) - before < 0.5, "nothing is left that keeps a core busy"
    service.wait_until(lambda: worker.num_threads() < 20)


def test_a_host_that_is_missing_or_repeated_is_400_and_http_1_0_needs_none(service: Any) -> None:
    for path in ("/health", "/predict", "/nowhere"):
        for hosts in (b"", b"Host: a\r\nHost: b\r\n", b"Host:\r\n"):
            status, problem = answer_to(service, f"GET {path} HTTP/1.1\r\n".encode() + hosts + b"\r\n", then_end=False)
            assert (status, problem["type"]) == (400, "urn:sluice:problem:invalid-host")
    status, problem = answer_to(service, b"POST /predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n", then_end=False)
    assert (status, problem["type"]) == (400, "urn:sluice:problem:invalid-host")
    assert answer_to(service, b"GET /health HTTP/1.0\r\n\r\n", then_end=False) == (200, {"status": "alive"})


def test_no_address_in_an_answer_is_built_from_the_callers_host(service: Any) -> None:
    framed = {"Content-Length": str(len(PREDICTION))}
    for path in ("/v1/models/iris/predict_async", "//v1/models/iris/predict_async", "/v1//models", "/health/"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
            connection.sendall(head(path, framed).replace(b"Host: x", b"Host: evil.example") + PREDICTION)
            answer = HTTPResponse(connection)
            answer.begin()
            assert "evil.example" not in f"{answer.getheaders()} {answer.read()!r}", path
            location = answer.getheader("Location")
            assert location is None or location.startswith("/v1/jobs/")
