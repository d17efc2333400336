"""The watcher as it runs: it tells once of what is wrong, ends it, and goes on without the database and Airflow."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.settings import Settings, load_settings
from include.steps.watcher import SENT_FILE, DeadManSwitch, Watcher
from include.warehouse import open_engine
from include.watching.checks import DATABASE_TIME

DAY = timedelta(days=1)


class Receiver:
    """An HTTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        receiver = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.requests.append((self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.at = f"127.0.0.1:{self.server.server_port}"

    def messages(self) -> list[tuple[str, str]]:
        documents = [json.loads(body) for _, body in self.requests]
        return [(each["action"], each["kind"]) for each in documents]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    threading.Thread(target=opened.server.serve_forever, daemon=True).start()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def told(settings: Settings, receiver: Receiver, tmp_path: Path) -> Settings:
    (tmp_path / "models").mkdir(exist_ok=True)
    return settings.model_copy(
        update={
            "models_dir": tmp_path / "models",
            "alert_channels": {"default": f"webhook+http://{receiver.at}/"},
            "service_url": None,
            "airflow_database_url": None,
        }
    )


def broken(told: Settings) -> Path:
    folder = told.models_dir / "parcels"
    folder.mkdir()
    (folder / "spec.py").write_text("spec = nonsense(\n")
    return folder


def test_a_problem_is_told_once_and_its_end_too(engine: Engine, told: Settings, receiver: Receiver) -> None:
    clock = Clock()
    watcher = Watcher(told, engine, None, clock)
    assert watcher.look().problems == ()
    folder = broken(told)
    for _ in range(3):
        clock.now += timedelta(seconds=10)
        look = watcher.look()
    assert [each.kind for each in look.problems] == ["broken_declaration"]
    assert receiver.messages() == [("trigger", "broken_declaration")]
    (folder / "spec.py").unlink()
    folder.rmdir()
    clock.now += timedelta(seconds=10)
    (ended,) = watcher.look().changed
    assert ended.resolution == "It is no longer found."
    assert receiver.messages() == [("trigger", "broken_declaration"), ("resolve", "broken_declaration")]


def test_without_the_database_it_is_told_once_also_after_a_restart_and_its_end_when_it_is_back(
    engine: Engine, told: Settings, receiver: Receiver
) -> None:
    clock = Clock()
    dead = open_engine("postgresql://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    watcher = Watcher(told, engine, None, clock)
    watcher.look()
    watcher.engine = dead
    watcher.look()
    assert receiver.messages() == [], "a restart of the server takes some seconds"
    clock.now += DATABASE_TIME + timedelta(seconds=1)
    for _ in range(3):
        watcher.look()
        clock.now += timedelta(seconds=10)
    assert receiver.messages() == [("trigger", "database_down")]
    again = Watcher(told, dead, None, clock)
    clock.now += DATABASE_TIME + timedelta(seconds=1)
    again.look()
    assert receiver.messages() == [("trigger", "database_down")], "another watcher knows what was told"
    again.engine = engine
    clock.now += timedelta(seconds=10)
    again.look()
    assert receiver.messages() == [("trigger", "database_down"), ("resolve", "database_down")]
    first, last = (json.loads(body) for _, body in receiver.requests)
    assert first["key"] == last["key"]
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT kind, resolved_at IS NOT NULL, occurrences FROM sluice.incident")).all()
    assert [tuple(row) for row in rows] == [("database_down", True, 1)]
    assert json.loads((told.home / SENT_FILE).read_text()) == {}


def test_a_fault_of_its_own_is_told_and_ends_with_the_next_look(
    engine: Engine, told: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(told, engine, None, Clock())
    stop = threading.Event()
    looks = iter([RuntimeError("a fault")])
    real = Watcher.look

    def look(self: Watcher) -> Any:
        for error in looks:
            raise error
        stop.set()
        return real(self)

    monkeypatch.setattr(Watcher, "look", look)
    watcher.run(stop, 0.01)
    assert receiver.messages() == [("trigger", "watcher_failed"), ("resolve", "watcher_failed")]


def test_the_dead_man_s_switch_hears_of_start_success_and_failure(receiver: Receiver) -> None:
    switch = DeadManSwitch(f"http://{receiver.at}/ping/uuid", 60)
    switch.begin()
    switch.ping()
    switch.ping()
    switch.ping(ValueError("why"))
    assert receiver.requests == [
        ("/ping/uuid/start", b""),
        ("/ping/uuid", b""),
        ("/ping/uuid/fail", b"ValueError: why"),
    ]
    DeadManSwitch("http://127.0.0.1:1/x", 60).ping()
    DeadManSwitch(None, 60).ping()


def free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def process(
    engine: Engine, database_url: str, told: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Starts ``sluice watch`` as people do; ends it by SIGTERM."""
    started = []

    def start(**more: str) -> tuple[Any, int, int]:
        port, statsd = free(socket.SOCK_STREAM), free(socket.SOCK_DGRAM)
        environment = os.environ | {
            "SLUICE_DATABASE_URL": database_url,
            "SLUICE_HOME": str(told.home),
            "SLUICE_MODELS_DIR": str(told.models_dir),
            "SLUICE_ALERT_CHANNELS": json.dumps(dict(told.alert_channels)),
            "SLUICE_WATCH_PORT": str(port),
            "SLUICE_WATCH_STATSD_PORT": str(statsd),
            "SLUICE_WATCH_SECONDS": "1",
            **more,
        }
        command = [sys.executable, "-m", "include.cli", "watch"]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(running)
        return running, port, statsd

    yield start
    for each in started:
        each.kill()
        each.communicate()


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_process_shows_metrics_takes_statsd_pings_and_ends_on_sigterm(
    process: Callable[..., Any], told: Settings, receiver: Receiver
) -> None:
    broken(told)
    running, port, statsd = process(SLUICE_WATCH_PING_URL=f"http://{receiver.at}/ping")

    def shown() -> bool:
        try:
            return "sluice_watch_problems{" in page(port)
        except OSError:
            return False

    wait_until(shown)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"airflow.scheduler_heartbeat:1|c", ("127.0.0.1", statsd))
    wait_until(lambda: "scheduler_heartbeat" in page(port))
    found = page(port)
    assert 'sluice_watch_problems{kind="broken_declaration",model="parcels",severity="page"} 1.0' in found
    assert "sluice_watch_last_look_timestamp_seconds" in found or "heartbeat" in found
    assert (told.home / "heartbeats" / "watch").exists()
    wait_until(lambda: {"/ping/start", "/ping"} <= {path for path, _ in receiver.requests})
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=20)
    assert running.returncode == 0, log
    assert not (told.home / "heartbeats" / "watch").exists(), "it ended as it should"
    assert "incident 1 (broken_declaration parcels) page, opened" in log


def test_a_port_that_is_taken_is_one_sentence(process: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running, _, _ = process(SLUICE_WATCH_PORT=str(taken.getsockname()[1]))
        _, log = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "sluice: SLUICE_WATCH_PORT: expected a port that is free on 127.0.0.1; found" in log
    assert "Traceback" not in log


def test_one_look_is_printed(
    database_url: str, told: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from include.cli import main

    broken(told)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(told.home))
    monkeypatch.setenv("SLUICE_MODELS_DIR", str(told.models_dir))
    assert load_settings().models_dir == told.models_dir
    assert main(["watch", "--once"]) == 0
    assert capsys.readouterr().out.startswith("[page] broken_declaration parcels: ")
