"""Every alert fires and resolves once in the real system: service, exporter, Prometheus, Alertmanager, a webhook.

The rules and routes are those of the repository, with windows 40 times shorter, and without inhibitions, which hold
alerts back (test_alertmanager.py).
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import yaml
from sqlalchemy import text
from statsd import StatsClient

from include.records import Period
from include.schedule import last_partition
from tests.deploy.conftest import DEPLOY, Exporter, Program, Webhook, wait_until
from tests.deploy.test_prometheus import ALERTS
from tests.observability import ledger

pytestmark = pytest.mark.slow

SETOSA = [5.1, 3.5, 1.4, 0.2]
TRIP = {"distance": 10.5, "carrier": "BB", "weekend": True}
DAY = timedelta(days=1)


def routes(port: int) -> str:
    """Return the routes of the repository, for the webhook and the owner of the test, without waiting."""
    content = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    del content["inhibit_rules"]
    changed = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", yaml.safe_dump(content))
    return changed.replace("127.0.0.1:9095", f"127.0.0.1:{port}").replace("data-science", "tests")


class Repeated:
    """Work that a thread repeats until it is stopped."""

    def __init__(self, work: Callable[[], object], pause: float) -> None:
        self._stopping, self._work, self._pause = threading.Event(), work, pause
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            with suppress(OSError):  # a worker was killed, or the service is down
                self._work()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of a few MiB; yields whether that is possible here."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


@dataclass
class System:
    """The running system, and what happens in it."""

    harness: Any
    service: Any
    prometheus: Program
    webhook: Webhook
    wanted: set[str]

    def wait_until_firing(self, *names: str) -> None:
        def missing() -> list[str]:
            return [name for name in names if "firing" not in self.webhook.states(name)]

        wait_until(lambda: not missing(), lambda: (missing(), self.pending()))

    def wait_until_resolved(self, *names: str) -> None:
        def lasting() -> list[str]:
            return [name for name in names if name in self.firing() or "resolved" not in self.webhook.states(name)]

        wait_until(lambda: not lasting(), lambda: (lasting(), self.pending()))

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.prometheus.query('ALERTS{alertstate="firing"}')}

    def pending(self) -> list[dict[str, Any]]:
        return [each["metric"] for each in self.prometheus.query("ALERTS")]

    def post(self, model: str, features: Any) -> None:
        self.service.ask("POST", f"/v1/models/{model}/predict", {"features": features})

    def post_slowly(self, model: str, features: Any) -> None:
        """Send half of a body, and the rest after 0.8 s: a request that takes so long."""
        body = json.dumps({"features": features}).encode()
        head = (
            f"POST /v1/models/{model}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=10) as connection:
            connection.sendall(head.encode() + body[:10])
            time.sleep(0.8)
            connection.sendall(body[10:])
            if not connection.recv(65_536).startswith(b"HTTP/1.1 200 "):
                raise ConnectionError("its worker was killed")

    def kill_workers(self, times: int) -> None:
        """Kill a worker again and again, each time after the one before was replaced and its successor has said so."""
        main = psutil.Process(self.service.process.pid)
        for number in range(1, times + 1):
            main.children()[0].kill()
            wait_until(lambda expected=number: self.restarts() >= expected, self.restarts)  # type: ignore[misc]

    def restarts(self) -> float:
        (total,) = self.prometheus.query("sum(sluice_worker_restarts_total)")
        return float(total["value"][1])


@contextmanager
def database_away(url: str) -> Iterator[None]:
    """Let nobody into the database, and end all sessions in it."""
    server, name = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_every_alert_fires_and_resolves_in_the_real_system(
    harness: Any,
    run_service: Callable[..., Any],
    start_exporter: Callable[..., Exporter],
    start_prometheus: Callable[..., Program],
    start_alertmanager: Callable[..., Program],
    webhook: Webhook,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        home = tmp_path / "disk"
        has_disk = stack.enter_context(small_disk(home))
        if not has_disk:
            warnings.warn("NOT TESTED: DiskFilling: no file system can be mounted here (root is needed)", stacklevel=1)
        now = datetime.now(UTC)

        # All is well: two models with champions and today's partition, a scheduler with a heartbeat, requests.
        harness.declare("iris", "trip")
        for name in ("iris", "trip"):
            version = harness.champion(name, holdout=Period(start=now - 2 * DAY, end=now))
            ledger.publish(harness.engine, name, version.version, last_partition(None, now), at=now)
        service, exporter = run_service(workers=2), start_exporter(home)
        statsd = StatsClient("127.0.0.1", exporter.statsd_port, prefix="airflow")
        stack.callback(statsd.close)
        beating = Repeated(lambda: statsd.incr("scheduler_heartbeat"), 0.3)
        stack.callback(beating.stop)
        alertmanager = start_alertmanager(routes(webhook.port))
        prometheus = start_prometheus(service.port, exporter.port, alertmanager.url.removeprefix("http://"))
        wanted = set(ALERTS) - (set() if has_disk else {"DiskFilling"})
        system = System(harness, service, prometheus, webhook, wanted)
        requesting = Repeated(lambda: system.post("trip", TRIP), 0.2)
        stack.callback(requesting.stop)
        wait_until(lambda: bool(prometheus.query("model:sluice_http_requests:rate5m > 0")), system.pending)
        wait_until(lambda: not system.firing(), system.pending)

        system.kill_workers(4)

        # What clients notice, and the state of the models. The model sugar has no champion, so it answers 503.
        harness.declare("sugar")
        failing = Repeated(lambda: system.post("sugar", [0.0] * 10), 0.1)
        stack.callback(failing.stop)
        rejected = Repeated(lambda: system.post("iris", [1]), 0.1)
        stack.callback(rejected.stop)
        slow = Repeated(lambda: system.post_slowly("iris", SETOSA), 0.1)
        stack.callback(slow.stop)
        old = harness.champion("iris", 1, holdout=Period(start=now - 42 * DAY, end=now - 40 * DAY))
        with harness.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO sluice.partition_removal VALUES ('iris', :start, 1, 1, 'published by mistake')"),
                {"start": last_partition(None, now).start},
            )
        day = Period(start=last_partition(None, now).start - 5 * DAY, end=last_partition(None, now).end - 5 * DAY)
        ledger.publish(harness.engine, "iris", old.version, day, at=now)
        bad = harness.register("trip", 1)
        (Path(harness.store.locate("trip", bad.version)) / "model.onnx").write_bytes(b"not what was registered")
        harness.promote("trip", bad.version)
        ledger.alert(harness.engine, "iris", at=now)
        beating.stop()
        if has_disk:
            (home / "filling").write_bytes(b"x" * (4 * 1024 * 1024 - 128 * 1024))
        first = wanted - {"ServiceDown", "WatcherDown", "DatabaseUnavailable"}
        system.wait_until_firing(*first)

        # Each cause is mended.
        for each in (failing, rejected, slow):
            each.stop()
        harness.champion("sugar")
        fresh = harness.champion("iris", 2, holdout=Period(start=now - 2 * DAY, end=now))
        ledger.publish(harness.engine, "iris", fresh.version, last_partition(None, now), at=now, sequence=2)
        with harness.engine.begin() as connection:
            connection.execute(text("UPDATE sluice.alert_message SET delivered_at = now()"))
        harness.promote("trip", 1)
        again = Repeated(lambda: statsd.incr("scheduler_heartbeat"), 0.3)
        stack.callback(again.stop)
        if has_disk:
            (home / "filling").unlink()
        system.wait_until_resolved(*first)

        # The database is away; the service continues to predict.
        with database_away(harness.settings.database_url):
            system.wait_until_firing("DatabaseUnavailable")
            system.post("trip", TRIP)
        system.wait_until_resolved("DatabaseUnavailable")

        # The service and the watcher end, and start again.
        service.stop()
        exporter.stop()
        system.wait_until_firing("ServiceDown", "WatcherDown")
        exporter.start()
        system.service = run_service(port=service.port, workers=2)
        system.wait_until_resolved("ServiceDown", "WatcherDown")
        wait_until(lambda: not system.firing(), system.pending)

    assert set(webhook.received) == wanted
    for name, messages in webhook.received.items():
        severity = ALERTS[name]["labels"]["severity"]
        paths = {path for path, _, _ in messages}
        assert f"/{severity}" in paths
        assert paths <= {f"/{severity}", "/owner/tests"}
        assert [state for path, state, _ in messages if path == f"/{severity}"][-1] == "resolved"
        assert all(labels["runbook_url"] == f"docs/runbook.md#{name.lower()}" for _, _, labels in messages)
    # Alerts of a model reach its owner as well, but for notes.
    owners = {name for name, messages in webhook.received.items() if any("/owner/" in path for path, _, _ in messages)}
    assert owners == {
        name for name in wanted if "owner" in ALERTS[name]["labels"] and ALERTS[name]["labels"]["severity"] != "note"
    }
