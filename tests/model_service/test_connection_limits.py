"""How many connections a worker keeps, and which it closes."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.server import connections
from model_service.server.connections import ConnectionPruner, fair_share

SETOSA = [5.1, 3.5, 1.4, 0.2]
BODY = json.dumps({"features": SETOSA})


@given(st.lists(st.integers(0, 300), max_size=50), st.integers(0, 500))
def test_a_fair_share_is_the_largest_that_keeps_the_limit(counts: list[int], limit: int) -> None:
    def total(share: int) -> int:
        return sum(min(each, share) for each in counts)

    share = fair_share(counts, limit)
    assert total(share) <= limit
    assert share >= max(counts, default=0) or total(share + 1) > limit


class Server:
    """A listening socket of this process; what it accepts is pruned."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=500))
        self.port: int = self.listening.getsockname()[1]
        self.closed: Counter[str] = Counter()

    def pruner(self, limit: int, per_address: int = 0, unread_seconds: float = 60) -> ConnectionPruner:
        return ConnectionPruner(self.port, limit, per_address, unread_seconds, self._count)

    def _count(self, reason: str, number: int) -> None:
        self.closed[reason] += number

    def connect(self, number: int, address: str = "127.0.0.1", sent: bytes = b"", answered: bytes = b"") -> Clients:
        clients = []
        for _ in range(number):
            client = self.stack.enter_context(socket.socket())
            client.bind((address, 0))
            client.connect(("127.0.0.1", self.port))
            accepted, _ = self.listening.accept()
            self.stack.enter_context(accepted)
            if sent:
                client.sendall(sent)
                assert accepted.recv(len(sent)) == sent
            if answered:
                time.sleep(0.02)  # more than a tick of the kernel's clock
                accepted.sendall(answered)
                assert client.recv(len(answered)) == answered
            clients.append(client)
        return clients


Clients = list[socket.socket]


@pytest.fixture
def server() -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(stack)


def still_open(clients: Iterable[socket.socket]) -> int:
    """Return how many of the connections were not closed by the service."""
    count = 0
    for each in clients:
        each.setblocking(False)
        try:
            each.recv(1)
        except BlockingIOError:
            count += 1
    return count


def test_nothing_is_closed_within_the_limit(server: Server) -> None:
    clients = server.connect(20)
    assert server.pruner(20).sweep() == 20
    assert still_open(clients) == 20
    assert not server.closed


def test_the_address_with_the_most_connections_loses_and_others_lose_none(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    few, many = server.connect(10, "127.0.0.2"), server.connect(90, "127.0.0.3")
    pruner = server.pruner(50)
    with caplog.at_level(logging.WARNING):
        assert pruner.sweep() == 50
        assert pruner.sweep() == 50
    assert (still_open(few), still_open(many)) == (10, 40)
    assert server.closed == {"worker_limit": 50}
    (line,) = caplog.messages
    assert line.startswith("50 idle connection(s) closed beyond SLUICE_SERVICE_MAX_CONNECTIONS (50)")
    assert line.endswith("50 are open, of which 40 from 127.0.0.3")


def test_of_an_address_unused_ones_go_first_then_idle_ones_and_never_one_that_is_being_answered(
    server: Server,
) -> None:
    being_answered = server.connect(5, sent=b"request")
    idle = server.connect(5, sent=b"request", answered=b"response")
    time.sleep(1.2)
    just_answered = server.connect(5, sent=b"request", answered=b"response")
    unused = server.connect(5)
    groups = (unused, idle, just_answered, being_answered)
    pruner = server.pruner(16)
    assert pruner.sweep() == 16
    assert [still_open(each) for each in groups] == [1, 5, 5, 5]
    pruner._limit = 12
    assert pruner.sweep() == 12
    assert [still_open(each) for each in groups] == [0, 2, 5, 5]
    pruner._limit = 1
    assert pruner.sweep() == 10, "no other may be closed"
    assert [still_open(each) for each in groups] == [0, 0, 5, 5]


def test_what_has_sent_a_part_of_a_header_only_is_closed_after_a_while(server: Server) -> None:
    unfinished = server.connect(20, sent=b"GET / HTT")
    pruner = server.pruner(10)
    assert pruner.sweep() == 20
    time.sleep(2.2)
    assert pruner.sweep() == 10
    assert still_open(unfinished) == 10


def test_the_limit_of_an_address_does_not_hold_for_loopback_addresses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = server.connect(5, "127.0.0.2"), server.connect(20, "127.0.0.3")
    pruner = server.pruner(1000, per_address=10)
    assert pruner.sweep() == 25
    monkeypatch.setattr(connections, "_is_loopback", lambda _address: False)  # this machine may have no other address
    assert pruner.sweep() == 15
    assert (still_open(few), still_open(many)) == (5, 10)
    assert server.closed == {"address_limit": 10}


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_which_addresses_are_loopback(address: str, loopback: bool) -> None:
    assert connections._is_loopback(address) is loopback


# -- the service -----------------------------------------------------------------------------------


def metric(port: int, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        found = re.findall(rf"(?m)^{name}(?:{{.*}})? (\S+)$", answer.read().decode())
    return sum(map(float, found))


def flood(port: int, number: int, sent: bytes, stopping: threading.Event) -> None:
    """Keep `number` connections from another address open that send `sent` and no more."""
    held: list[socket.socket] = []
    while not stopping.is_set():
        for each in list(held):
            with suppress(BlockingIOError, OSError):
                if each.recv(1) == b"":
                    each.close()
                    held.remove(each)
        while len(held) < number and not stopping.is_set():
            client = socket.socket()
            client.bind(("127.0.0.2", 0))
            client.settimeout(1)
            with suppress(OSError):
                client.connect(("127.0.0.1", port))
                client.sendall(sent)
            client.setblocking(False)
            held.append(client)
        stopping.wait(0.1)
    for each in held:
        each.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"POST /predict HTTP/1.1\r\nHost: x\r\n", id="unfinished header", marks=pytest.mark.slow),
    ],
)
def test_others_are_answered_while_an_address_opens_connections_without_end(
    harness: Any, run_service: Callable[..., Any], sent: bytes
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_SERVICE_MAX_CONNECTIONS="64")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    kept = HTTPConnection("127.0.0.1", service.port, timeout=30)
    stopping = threading.Event()
    attacker = threading.Thread(target=flood, args=(service.port, 200, sent, stopping))
    attacker.start()
    try:
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            kept.request("POST", "/predict", BODY)
            answer = kept.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            new = HTTPConnection("127.0.0.1", service.port, timeout=30)
            new.request("POST", "/predict", BODY)
            assert new.getresponse().status == 200
            new.close()
            time.sleep(0.1)
        assert metric(service.port, "sluice_connections_closed_total") >= 100
    finally:
        stopping.set()
        attacker.join()
    service.wait_until(lambda: metric(service.port, "sluice_connections") < 10)
    assert "idle connection(s) closed beyond SLUICE_SERVICE_MAX_CONNECTIONS (64)" in service.log.read_text()
    kept.close()


def test_a_client_that_does_not_read_its_response_is_cut_off(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS="3")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    body = json.dumps({"features": [SETOSA] * 10_000}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", service.port))
        client.sendall(head + body)
        (worker,) = psutil.Process(service.process.pid).children()

        def has_it() -> bool:
            ours = client.getsockname()
            return any(each.raddr == ours for each in worker.net_connections())

        service.wait_until(has_it)
        service.wait_until(lambda: not has_it())


def test_a_header_without_end_is_bounded(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: ")
        with suppress(OSError):
            for _ in range(64):
                client.sendall(b"a" * 4096)
        received = b""
        with suppress(ConnectionResetError):
            received = client.recv(1000)
        assert not received or received.startswith(b"HTTP/1.1 431"), received
