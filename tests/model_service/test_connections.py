"""What a connection may do to the service: protocols, headers that do not end."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from typing import Any

import psutil

from tests.model_service.soak.attacks import PREFACE


def read_to_end(connection: socket.socket) -> bytes:
    """Return what the service sends until it closes the connection; raise TimeoutError if it does not."""
    received = b""
    try:
        while part := connection.recv(4096):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_http_2_is_refused_and_its_connection_closed(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(PREFACE)
        received = read_to_end(connection)
    assert not received or received.startswith(b"HTTP/1.1 4"), received
    assert service.ask("GET", "/health")[0] == 200


def test_workers_may_open_as_many_descriptors_as_the_hard_limit(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        service = run_service()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    for each in psutil.Process(service.process.pid).children():
        assert resource.prlimit(each.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_header_that_does_not_end_and_idle_connections_are_closed(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    service = run_service(SLUICE_SERVICE_IDLE_TIMEOUT_SECONDS="2")
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    unfinished = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as silent,
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as in_header,
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as answered,
    ):
        in_header.sendall(unfinished)
        answered.sendall(unfinished + b"\r\n")
        assert read_to_end(silent) == b""
        assert read_to_end(in_header) == b""
        assert read_to_end(answered).startswith(b"HTTP/1.1 200 OK")
