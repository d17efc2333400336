"""Good clients beside all attacks at once: they notice nothing, and nothing is left of the attacks.

``SOAK_SECONDS`` sets how long: half an hour by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import psutil
import pytest

from include.settings import REPOSITORY
from tests.model_service.issuers import Issuer, dripping, jwk, key_set, response, signed

IDLE_SECONDS: Final = 5
GROWTH_MIB: Final = 96  # a worker's memory goes up and down by 30 MiB; a leak of these attacks would be hundreds
DRIPS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 10_000


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that answers with its key; the test makes it drip."""
    opened = Issuer(lambda connection: connection.sendall(response(key_set(jwk("k")))))
    yield opened
    opened.server.close()


def token(subject: str) -> str:
    return signed("k", sub=subject, scope="predict scores models", exp=int(time.time()) + 7_200)


def start(program: str, port: int, token: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.model_service.soak.{program}", str(port), token, str(seconds)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def report(process: subprocess.Popen[str]) -> Any:
    output, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(output)


class Footprint:
    """Memory, descriptors and clients' connections of the service's processes."""

    def __init__(self, service: Any) -> None:
        pid = service.process.pid
        processes = [psutil.Process(pid), *psutil.Process(pid).children()]
        self.pids = sorted(each.pid for each in processes)
        self.memory_mib = sum(each.memory_full_info().uss for each in processes) / 2**20
        self.descriptors = sum(each.num_fds() for each in processes)
        self.connections = sum(
            connection.laddr[1] == service.port and connection.status != psutil.CONN_LISTEN
            for each in processes
            for connection in each.net_connections("tcp")
        )


@pytest.mark.slow
def test_all_attacks_at_once_fail_no_good_request_and_leave_nothing_behind(
    harness: Any, run_service: Callable[..., Any], issuer: Issuer
) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "1800"))
    harness.declare("trip", "iris")
    for name in ("trip", "iris"):
        harness.champion(name)
    service = run_service(
        workers=2,
        SLUICE_AUTH_JWKS_URL=issuer.url,
        SLUICE_AUTH_JWKS_COOLDOWN_SECONDS="1",
        SLUICE_SERVICE_IDLE_TIMEOUT_SECONDS=str(IDLE_SECONDS),
        SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS="10",
    )
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    good, bad = token("good"), token("bad")

    quiet = report(start("good", service.port, good, seconds / 8))
    issuer.send = dripping(DRIPS)
    asked_before = issuer.connections
    report(start("attacks", service.port, bad, seconds / 4))  # until allocators and caches have what they keep
    time.sleep(2 * IDLE_SECONDS)
    before = Footprint(service)

    attackers = start("attacks", service.port, bad, seconds * 2 / 3)
    attacked = report(start("good", service.port, good, seconds * 2 / 3))
    outcomes = report(attackers)
    time.sleep(2 * IDLE_SECONDS)
    after = Footprint(service)

    print(f"\nquiet {quiet}\nunder attack {attacked}")  # read with -s
    for attack, seen in outcomes.items():
        print(f"  {attack}: {seen}")
    print(f"memory {before.memory_mib:.0f} -> {after.memory_mib:.0f} MiB, "
          f"descriptors {before.descriptors} -> {after.descriptors}")  # fmt: skip
    assert attacked["failures"] == []
    assert attacked["answered"] > 40 * seconds, "most of them were sent, or nothing was tried"
    assert issuer.connections > asked_before + 2, "the issuer was asked again, and answered nothing"
    for attack, seen in outcomes.items():
        assert seen, attack
        assert not set(seen) & {"500", "502", "504"}, (attack, seen)
    assert after.pids == before.pids, service.log.read_text()
    assert after.memory_mib - before.memory_mib < GROWTH_MIB
    assert after.descriptors <= before.descriptors + 4
    assert after.connections == 0
