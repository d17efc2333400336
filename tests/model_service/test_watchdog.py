"""A worker that cannot answer any more is replaced, and the service says so."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

SETOSA = [5.1, 3.5, 1.4, 0.2]
# The service, with shorter limits and without the thread that ends late requests.
SERVICE = """
import sys, time
from model_service import __main__, app
from model_service.server import watchdog
app.start_request_timeout = lambda *_: None
app.STUCK_MARGIN_SECONDS = 1.0
watchdog.Heartbeats.watch.__defaults__ = (3.0,)
{more}
sys.exit(__main__.main())
"""
# A model that holds the GIL for ever, as faulty native code can: a regular expression that backtracks.
HANGING_MODEL = """
import re
from model_service.models import prediction
from model_service.routes import predict
def hang(*_, **__):
    re.fullmatch("(a+)+b", "a" * 60)
predict.parse_features = hang
"""


def restarts(port: int) -> dict[str, float]:
    """Return the number of restarts by reason, without those that did not happen."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'sluice_worker_restarts_total\{reason="(\w+)"\} (\S+)', text)
    return {reason: float(count) for reason, count in found if float(count)}


def workers_of(service: Any) -> dict[int, psutil.Process]:
    return {each.pid: each for each in psutil.Process(service.process.pid).children()}


def running(harness: Any, run_service: Callable[..., Any], more: str = "", workers: int = 1) -> Any:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(
        workers=workers,
        command=("-c", SERVICE.format(more=more)),
        SLUICE_SERVICE_MAX_CONCURRENCY="2",
        SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS="1",
    )
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200 and len(workers_of(service)) == workers)
    return service


def test_a_worker_whose_places_are_all_held_for_too_long_is_restarted_and_says_so(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    service = running(harness, run_service)
    (before,) = workers_of(service)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"
    held = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(2)]
    held[0].sendall(head)
    time.sleep(4)
    assert list(workers_of(service)) == [before], "one place is free: it goes on"
    held[1].sendall(head)
    service.wait_until(lambda: before not in workers_of(service))
    service.wait_until(lambda: service.ask("POST", "/predict", {"features": SETOSA})[0] == 200)
    assert restarts(service.port) == {"stuck": 1}
    log = service.log.read_text()
    assert f"worker {before} is stuck and is restarted" in log
    assert "in read_body" in log, "the stacks tell what it waited for"
    for each in held:
        each.close()


def test_a_worker_that_holds_the_gil_for_ever_is_restarted(harness: Any, run_service: Callable[..., Any]) -> None:
    service = running(harness, run_service, HANGING_MODEL)
    (before,) = workers_of(service)
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        service.wait_until(lambda: before not in workers_of(service))
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    assert restarts(service.port) == {"unresponsive": 1}
    log = service.log.read_text()
    assert f"worker {before} is unresponsive and is restarted" in log
    assert "in hang" in log, "the stacks tell what holds it"


@pytest.mark.slow
def test_a_frozen_worker_is_restarted_and_a_frozen_service_goes_on(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    service = running(harness, run_service, workers=2)
    workers = workers_of(service)
    everything = [psutil.Process(service.process.pid), *workers.values()]
    for each in everything:
        each.suspend()
    time.sleep(6)
    for each in everything:
        each.resume()
    time.sleep(3)
    assert workers_of(service).keys() == workers.keys(), "no time passed for it"
    frozen = next(iter(workers))
    os.kill(frozen, signal.SIGSTOP)
    service.wait_until(lambda: frozen not in workers_of(service) and len(workers_of(service)) == 2)
    service.wait_until(lambda: restarts(service.port) == {"unresponsive": 1})


class Client(threading.Thread):
    """Predicts on one connection after another; notes when requests are lost, and from which port they were sent."""

    def __init__(self, port: int, stopping: threading.Event) -> None:
        super().__init__()
        self.port, self.stopping = port, stopping
        self.answered = 0
        self.lost: list[tuple[float, int]] = []

    def run(self) -> None:
        body = json.dumps({"features": SETOSA})
        while not self.stopping.is_set():
            connection, port = HTTPConnection("127.0.0.1", self.port, timeout=30), 0
            try:
                connection.connect()
                port = connection.sock.getsockname()[1]
                while not self.stopping.is_set():
                    connection.request("POST", "/predict", body)
                    answer = connection.getresponse()
                    assert (answer.status, bool(answer.read())) == (200, True)
                    self.answered += 1
            except (OSError, HTTPException):
                self.lost.append((time.monotonic(), port))
            finally:
                connection.close()


def client_ports(worker: psutil.Process) -> set[int]:
    return {each.raddr.port for each in worker.net_connections() if each.status == psutil.CONN_ESTABLISHED}


@pytest.mark.slow  # one kill under load is in tests/e2e/test_stack_kills.py
@pytest.mark.parametrize("clients", [8, 64])
def test_a_killed_worker_loses_only_requests_that_were_sent_to_it(
    harness: Any, run_service: Callable[..., Any], clients: int
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200 and len(workers_of(service)) == 2)
    stopping = threading.Event()
    load = [Client(service.port, stopping) for _ in range(clients)]
    for each in load:
        each.start()
    try:
        for turn in range(1, 4):
            time.sleep(2)
            killed, other = workers_of(service).values()
            on_other = client_ports(other)
            killed.kill()
            service.wait_until(lambda turn=turn: restarts(service.port) == {"crashed": turn})
            assert len(workers_of(service)) == 2
            replaced_at = time.monotonic()
            time.sleep(6)  # granian gives up if the same worker ends again within 5.5 s
            lost = [each for client in load for each in client.lost]
            assert not on_other & {port for _, port in lost}, "nothing on the other worker"
            assert all(at < replaced_at for at, _ in lost), "and nothing afterwards"
    finally:
        stopping.set()
        for each in load:
            each.join()
    assert sum(each.answered for each in load) > 100
