"""A real Prometheus, a real Alertmanager, the real service, and the exporter of the ledger behind a small server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import Metric
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from include.models import declared_models
from include.observability import (
    StatsdReceiver,
    database_metrics,
    disk_metrics,
    heartbeat_metrics,
    ledger_metrics,
    read_mapping,
    render,
)
from include.ports import any_free_port
from include.settings import REPOSITORY, Settings
from tests.model_service.conftest import candidates, harness, run_service

__all__ = ["candidates", "harness", "run_service"]  # fixtures of the service's tests

DEPLOY = REPOSITORY / "deploy"
PROMETHEUS_MISSING = "SKIPPED: nothing ran on a real Prometheus. apt-get install prometheus prometheus-alertmanager"

MIN_WINDOW, MAX_WINDOW, SPEED = 10, 90, 40  # seconds, seconds, and how much faster the rules are in these tests
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def wait_until(condition: Callable[[], bool], what: Callable[[], object], seconds: float = 300) -> None:
    """Wait for `condition`; the deadline only ends a test that hangs, with `what` was there."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what()}")
        time.sleep(0.2)


def shortened(rules: str) -> str:
    """Return the rules with windows 40 times shorter, of 10 to 90 seconds, and with alerts that wait one second."""

    def window(found: re.Match[str]) -> str:
        seconds = int(found[1]) * _UNITS[found[2]] // SPEED
        return f"[{min(MAX_WINDOW, max(MIN_WINDOW, seconds))}s]"

    content = yaml.safe_load(rules)
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\d+)([smhd])\]", window, rule["expr"])
            if "for" in rule:
                rule["for"] = "1s"
    return yaml.safe_dump(content)


class Exporter:
    """What a watcher would export, behind a server of the test: the ledger, the disk, and a receiver of StatsD."""

    def __init__(self, engine: Engine, settings: Settings, home: Path) -> None:
        self._engine, self._settings, self._home = engine, settings, home
        self.receiver = StatsdReceiver(read_mapping())
        self.port = any_free_port()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.statsd_port: int = self._udp.getsockname()[1]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.receiver.serve, args=(self._udp, self._stopping))
        self._thread.start()
        self.start()

    def metrics(self) -> list[Metric]:
        now = datetime.now(UTC)
        found = [*disk_metrics(self._home), *heartbeat_metrics(now), *self.receiver.collect()]
        try:
            with self._engine.connect() as connection:
                found += ledger_metrics(connection, now, declared_models(self._settings.models_dir).specs)
        except SQLAlchemyError:
            return [*found, *database_metrics(reachable=False)]
        return [*found, *database_metrics(reachable=True)]

    def start(self) -> None:
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page, kind = render(exporter.metrics(), self.headers.get("Accept", ""))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._udp.close()


@dataclass
class Program:
    """A started Prometheus or Alertmanager."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str, **parameters: str) -> Any:
        return httpx.get(self.url + path, params=parameters, timeout=30).raise_for_status().json()

    def post(self, path: str, body: Any) -> None:
        httpx.post(self.url + path, json=body, timeout=30).raise_for_status()

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = self.get("/api/v1/query", query=expression)
        assert answer["status"] == "success"
        return list(answer["data"]["result"])


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a program of Prometheus on a port of loopback, waits until it is ready, and ends it after the test."""
    started: list[Program] = []

    def start(name: str, *options: str) -> Program:
        if shutil.which(name) is None:
            pytest.skip(PROMETHEUS_MISSING)
        port, log = any_free_port(), tmp_path / f"{name}-{len(started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [name, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=file, stderr=file, cwd=tmp_path
            )
        program = Program(process, f"http://127.0.0.1:{port}", log)
        started.append(program)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{program.url}/-/ready", timeout=5).is_success
            except httpx.TransportError:
                return False

        wait_until(ready, log.read_text)
        return program

    yield start
    for program in reversed(started):
        program.process.terminate()
        program.process.wait(timeout=30)


@pytest.fixture
def start_prometheus(start_program: Callable[..., Program], tmp_path: Path) -> Callable[..., Program]:
    """Starts Prometheus with the configuration and the rules of the repository, every second instead of every 15."""

    def start(service_port: int, exporter_port: int, alertmanager: str = "127.0.0.1:9") -> Program:
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
        for place, real in (
            ("127.0.0.1:8090", f"127.0.0.1:{service_port}"),
            ("127.0.0.1:9102", f"127.0.0.1:{exporter_port}"),
            ("127.0.0.1:9093", alertmanager),
            ("15s", "1s"),
        ):
            assert place in text
            text = text.replace(place, real)
        folder = tmp_path / "prometheus"
        (folder / "rules").mkdir(parents=True)
        (folder / "prometheus.yml").write_text(text)
        for file in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
            (folder / "rules" / file.name).write_text(shortened(file.read_text(encoding="utf-8")))
        return start_program(
            "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"
        )

    return start


@pytest.fixture
def start_alertmanager(start_program: Callable[..., Program], tmp_path: Path) -> Callable[..., Program]:
    """Starts Alertmanager with the given configuration."""

    def start(configuration: str) -> Program:
        file = tmp_path / "alertmanager.yml"
        file.write_text(configuration)
        return start_program(
            "prometheus-alertmanager",
            f"--config.file={file}",
            f"--storage.path={tmp_path / 'alertmanager'}",
            "--cluster.listen-address=",
        )

    return start


@dataclass
class Webhook:
    """Receives what Alertmanager sends: for each alert its paths and states, in order."""

    port: int = 0
    received: dict[str, list[tuple[str, str, dict[str, str]]]] = field(default_factory=dict)

    def states(self, alert: str) -> list[str]:
        return [state for _, state, _ in self.received.get(alert, ())]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in content["alerts"]:
                entry = (self.path, alert["status"], alert["labels"] | alert["annotations"])
                found.received.setdefault(alert["labels"]["alertname"], []).append(entry)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def start_exporter(harness: Any, tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    """Starts the exporter over the harness of the service's tests."""
    started: list[Exporter] = []

    def start(home: Path | None = None) -> Exporter:
        started.append(Exporter(harness.engine, harness.settings, home or tmp_path))
        return started[-1]

    yield start
    for exporter in started:
        exporter.stop()
        exporter.close()
