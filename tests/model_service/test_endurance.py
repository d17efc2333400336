"""What only much of it shows: 300 promotions under load, and 100,000 requests that are not quite right."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import numpy as np
import psutil
import pytest

from tests.model_service.soak.mutations import HEADERS, SETOSA, bodies, mutated

pytestmark = pytest.mark.slow

CONNECTIONS = 16
PROMOTIONS = 300
MUTATED = 100_000
GROWTH_MIB = 12


class Asking:
    """Asks one after the other on connections that are kept; remembers the versions that answered each."""

    def __init__(self, port: int) -> None:
        self.port, self.stop = port, threading.Event()
        self.statuses: set[int] = set()
        self.versions: list[list[int]] = [[] for _ in range(CONNECTIONS)]

    def ask_on_and_on(self, connection: int) -> None:
        client = HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"features": SETOSA})
        while not self.stop.is_set():
            client.request("POST", "/predict", body, HEADERS)
            response = client.getresponse()
            answer = json.loads(response.read())
            self.statuses.add(response.status)
            self.versions[connection].append(answer.get("version", 0))
        client.close()

    def all_are_answered_by(self, version: int) -> bool:
        return all(answered and answered[-1] == version for answered in self.versions)

    def changes(self, connection: int) -> list[int]:
        """Return the versions that answered a connection, each as often as it came anew."""
        return [version for version, _ in itertools.groupby(self.versions[connection])]


def test_300_promotions_under_load_fail_no_request_and_each_reaches_every_connection(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    for seed in (1, 2, 3):
        harness.register("iris", seed=seed)
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    asking = Asking(service.port)
    waits = []
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        asked = [pool.submit(asking.ask_on_and_on, connection) for connection in range(CONNECTIONS)]
        try:
            service.wait_until(lambda: asking.all_are_answered_by(1))
            for turn in range(PROMOTIONS):
                version = 2 + turn % 3
                harness.promote("iris", version)
                began = time.monotonic()
                service.wait_until(lambda version=version: asking.all_are_answered_by(version))
                waits.append(time.monotonic() - began)
                time.sleep(random.Random(turn).uniform(0, 0.05))  # noqa: S311  # a pause, not a secret
        finally:
            asking.stop.set()
        for each in asked:
            each.result()
    history = [each.to_version for each in harness.ledger.promotions("iris")]
    assert history == [1, *(2 + turn % 3 for turn in range(PROMOTIONS))]
    assert asking.statuses == {200}
    for connection in range(CONNECTIONS):
        assert asking.changes(connection) == history, "each champion in its turn, and none comes back"
    count = sum(map(len, asking.versions))
    print(f"\n{count} answers; all connections had a new champion after {np.percentile(waits, 50) * 1e3:.0f} ms, "
          f"p99 {np.percentile(waits, 99) * 1e3:.0f} ms")  # fmt: skip  # read with -s


def sent(port: int, seed: int, count: int) -> dict[int, int]:
    """Send mutated requests; return how many got each status, and remember what met a fault of ours."""
    chance, valid, seen = random.Random(seed), bodies(), {}  # noqa: S311  # mutations, not secrets
    client = HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(count):
        path, body, headers = mutated(chance, valid)
        client.request("POST", path, body, headers)
        response = client.getresponse()
        text = response.read()
        if response.status >= 500:
            client.close()
            raise AssertionError((path, body, headers, response.status, text))
        seen[response.status] = seen.get(response.status, 0) + 1
    client.close()
    return seen


def memory_mib(pid: int) -> float:
    """Return the unshared memory of the service's processes."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(each.memory_full_info().uss for each in processes) / 2**20


def test_100_000_mutated_requests_meet_no_fault_of_ours_and_leave_memory_flat(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris", "trip")
    for name in ("iris", "trip"):
        harness.champion(name)
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    clients = 4
    with ThreadPoolExecutor(clients) as pool:

        def wave(first_seed: int, count: int) -> dict[int, int]:
            total: dict[int, int] = {}
            for seen in pool.map(lambda n: sent(service.port, first_seed + n, count // clients), range(clients)):
                total = {status: total.get(status, 0) + seen.get(status, 0) for status in total | seen}
            return total

        warm = wave(0, MUTATED // 5)
        before = memory_mib(service.process.pid)
        rest = wave(100, MUTATED - MUTATED // 5)
        grown = memory_mib(service.process.pid) - before
    print(f"\n{warm} then {rest}; grown by {grown:.1f} MiB from {before:.0f}")  # read with -s
    assert rest.get(200, 0) > 1_000, "some of them must be right, or nothing was tried"
    assert grown < GROWTH_MIB
