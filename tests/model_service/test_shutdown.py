"""The service is told to stop: by any of the usual signals, to the process or its group, once or several times."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest

SETOSA = [5.1, 3.5, 1.4, 0.2]
BODY = json.dumps({"features": SETOSA}).encode()
HEAD = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


def terminate(process: int) -> None:
    os.kill(process, signal.SIGTERM)


def terminate_group(process: int) -> None:
    """What systemd does by default."""
    os.killpg(process, signal.SIGTERM)


def interrupt_group(process: int) -> None:
    """What Ctrl-C does."""
    os.killpg(process, signal.SIGINT)


def interrupt_group_and_terminate(process: int) -> None:
    """What Ctrl-C does under a launcher that stops its children itself."""
    os.killpg(process, signal.SIGINT)
    os.kill(process, signal.SIGTERM)


def terminate_group_thrice(process: int) -> None:
    for _ in range(3):
        os.killpg(process, signal.SIGTERM)


WAYS = (terminate, terminate_group, interrupt_group, interrupt_group_and_terminate, terminate_group_thrice)
MOST_DIFFERENT = (terminate, interrupt_group_and_terminate)  # the other ways: `make test-all`


def started(harness: Any, run_service: Callable[..., Any]) -> Any:
    """Return a running service of two workers whose grace is so long that a stop that needs it fails the test."""
    service = run_service(workers=2, own_group=True, SLUICE_SERVICE_SHUTDOWN_TIMEOUT_SECONDS="60")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    return service


def ended(service: Any) -> None:
    # Its log proves nothing: granian sometimes says that it kills a worker that has just ended.
    assert service.process.wait(timeout=30) == 0, "of 60 s that it may take"
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    "tell", [each if each in MOST_DIFFERENT else pytest.param(each, marks=pytest.mark.slow) for each in WAYS]
)
def test_what_is_in_flight_is_answered_however_it_is_told_and_then_it_ends(
    harness: Any, run_service: Callable[..., Any], tell: Callable[[int], None]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = started(harness, run_service)
    idle = HTTPConnection("127.0.0.1", service.port, timeout=10)
    idle.request("GET", "/health")
    assert idle.getresponse().read()
    silent = socket.create_connection(("127.0.0.1", service.port), timeout=10)
    requests = [socket.create_connection(("127.0.0.1", service.port), timeout=30) for _ in range(4)]
    for each in requests:
        each.sendall(HEAD + BODY[:5])
    time.sleep(0.5)  # until they are taken up
    tell(service.process.pid)
    time.sleep(2.5)  # workers are told again every second
    for each in requests:
        each.sendall(BODY[5:])
        assert each.recv(1000).startswith(b"HTTP/1.1 200 OK")
        each.close()
    ended(service)
    silent.close()
    idle.close()


def stop_idle(harness: Any, run_service: Callable[..., Any], tell: Callable[[int], None]) -> None:
    service = started(harness, run_service)
    tell(service.process.pid)
    ended(service)


@pytest.mark.parametrize("tell", [terminate_group, interrupt_group_and_terminate])
def test_an_idle_service_needs_none_of_its_grace(
    harness: Any, run_service: Callable[..., Any], tell: Callable[[int], None]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    for _ in range(2):
        stop_idle(harness, run_service, tell)


@pytest.mark.slow
@pytest.mark.parametrize("tell", WAYS)
def test_fifty_stops_of_each_kind(harness: Any, run_service: Callable[..., Any], tell: Callable[[int], None]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    for _ in range(50):
        stop_idle(harness, run_service, tell)


def test_told_to_stop_while_a_worker_loads_its_models_it_ends(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    for pause in (0.0, 0.05, 0.2):
        service = run_service(workers=2, own_group=True, SLUICE_SERVICE_SHUTDOWN_TIMEOUT_SECONDS="60")
        service.wait_until(lambda service=service: b"Spawning worker-2" in service.log.read_bytes())
        time.sleep(pause)
        terminate_group(service.process.pid)
        ended(service)
