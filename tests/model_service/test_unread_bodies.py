"""Refusals reach clients that are still sending a large body."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.request import urlopen

import pytest

from model_service.http.unread_body import MAX_DISCARDED_BYTES, MAX_UNREAD_BODIES, UnreadBodies

PIECE = b" " * 65_536
SECRET = "a secret of at least thirty-two bytes"  # noqa: S105  # of the tests alone


def post_in_pieces(port: int, pieces: int, path: str = "/predict") -> int:
    """Send a body piece by piece, as most clients do: they look for a response only when it is sent."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(pieces * len(PIECE)))
        connection.endheaders()
        for _ in range(pieces):
            connection.send(PIECE)
        answer = connection.getresponse()
        assert json.loads(answer.read())["status"] == answer.status
        return answer.status
    finally:
        connection.close()


def statuses(port: int, pieces: int, requests: int = 160, path: str = "/predict") -> Counter[int | str]:
    found: Counter[int | str] = Counter()

    def ask() -> None:
        for _ in range(requests // 8):
            try:
                found[post_in_pieces(port, pieces, path)] += 1
            except OSError as error:
                found[repr(error)] += 1

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return found


def in_flight(port: int) -> float:
    """Return what the service reports; asking does not count."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("sluice_http_requests_in_flight ")))


def slow_body(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    return connection


def test_a_saturated_worker_tells_every_client_so_and_stays_alive(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_SERVICE_MAX_CONCURRENCY="1", SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS="60")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    held = slow_body(service.port)
    service.wait_until(lambda: in_flight(service.port) == 1)
    assert service.ask("POST", "/predict", {})[0] == 503
    assert statuses(service.port, pieces=16) == {503: 160}
    # Clients that send the bodies of refused requests slowly occupy no thread that others need.
    slow = [slow_body(service.port) for _ in range(MAX_UNREAD_BODIES + 20)]
    assert {each.recv(12) for each in slow} == {b"HTTP/1.1 503"}
    for _ in range(10):
        assert service.ask("GET", "/health")[0] == 200
        assert service.ask("POST", "/predict", {})[0] == 503
    for each in (held, *slow):
        each.close()
    service.wait_until(lambda: service.ask("POST", "/predict", {})[0] == 422)


def test_a_connection_is_used_again_after_a_refusal(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.connect()
    opened = connection.sock
    for _ in range(5):
        connection.request("POST", "/nowhere", PIECE * 16)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (404, True)
    assert connection.sock is opened
    connection.close()


def test_a_client_that_never_sends_the_body_of_a_refused_request_is_cut_off(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    service = run_service(SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS="2")
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", service.port), timeout=30) for _ in range(MAX_UNREAD_BODIES + 5)]
    for each in clients:
        each.sendall(head)
    for each in clients:
        received = b""
        with suppress(ConnectionResetError):
            while part := each.recv(4096):
                received += part
        assert received.startswith(b"HTTP/1.1 404")
        each.close()


def test_refusals_for_other_reasons_reach_their_clients(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_AUTH_SECRET=SECRET)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    assert statuses(service.port, pieces=16) == {401: 160}
    assert statuses(service.port, pieces=16, path="/nowhere") == {404: 160}
    limited = run_service(SLUICE_SERVICE_RATE_LIMIT="0.001", SLUICE_SERVICE_RATE_LIMIT_BURST="1")
    limited.wait_until(lambda: limited.ask("POST", "/predict", {})[0] == 429)
    assert statuses(limited.port, pieces=16) == {429: 160}
    too_large = run_service(SLUICE_SERVICE_MAX_BYTES=str(len(PIECE)))
    too_large.wait_until(lambda: too_large.ask("GET", "/ready")[0] == 200)
    assert statuses(too_large.port, pieces=16) == {413: 160}


class Input:
    """A body that never ends."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, size: int) -> bytes:
        self.read_bytes += size
        return bytes(size)


@pytest.mark.parametrize(
    ("headers", "most"),
    [
        ({"CONTENT_LENGTH": str(MAX_DISCARDED_BYTES)}, MAX_DISCARDED_BYTES),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, MAX_DISCARDED_BYTES),
        ({"CONTENT_LENGTH": str(MAX_DISCARDED_BYTES + 1)}, 0),
        ({"CONTENT_LENGTH": "99", "HTTP_EXPECT": "100-continue"}, 0),
        ({}, 0),
    ],
)
def test_what_is_read_is_bounded_and_a_client_that_waits_to_send_is_not_asked(
    headers: dict[str, str], most: int
) -> None:
    body, bodies = Input(), UnreadBodies()
    bodies.discard({"REQUEST_METHOD": "POST", "wsgi.input": body} | headers)
    assert body.read_bytes == most
    assert len(bodies.concurrency) == 0


def test_a_body_beyond_the_limit_waits_until_another_one_is_read() -> None:
    arrived, bodies = threading.Event(), UnreadBodies()

    class Late(Input):
        def read(self, size: int) -> bytes:
            arrived.wait(30)
            return super().read(size)

    def discard(body: Input) -> None:
        bodies.discard({"REQUEST_METHOD": "POST", "wsgi.input": body, "CONTENT_LENGTH": "99"})

    late = [Late() for _ in range(MAX_UNREAD_BODIES)]
    readers = [threading.Thread(target=discard, args=[each]) for each in late]
    for each in readers:
        each.start()
    while len(bodies.concurrency) < MAX_UNREAD_BODIES:
        assert all(each.is_alive() for each in readers)
    refused = Input()
    discard(refused)  # after a moment it gives up: slow clients occupy no thread for long
    assert refused.read_bytes == 0
    waiting = Input()
    waiter = threading.Thread(target=discard, args=[waiting])
    waiter.start()
    arrived.set()
    for each in (*readers, waiter):
        each.join(30)
    assert [each.read_bytes for each in (*late, waiting)] == [99] * (MAX_UNREAD_BODIES + 1)
    assert len(bodies.concurrency) == 0
