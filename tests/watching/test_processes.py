"""What processes say of themselves, asked for real: a server over HTTP, files, locks and a disk."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from include.models import declared_models
from include.service_client import ServiceClient
from include.settings import Settings
from include.steps.watch import airflow_database_url
from include.watching import (
    ask_service,
    beat,
    end_heartbeat,
    expected_parts,
    find_problems,
    free_space,
    observe,
    read_heartbeats,
    stack_runs,
)
from include.watching.state import ServedVersion
from tests.builders import declare_model
from tests.watching.states import MINUTE, NOW

URL = "postgresql://sluice@db.example/sluice"


class Ready(BaseHTTPRequestHandler):
    """Answers like the service; `answer` is a status and a document."""

    answer: tuple[int, object] = (200, {})

    def do_GET(self) -> None:
        status, document = type(self).answer
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def service() -> Iterator[ServiceClient]:
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ServiceClient(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def says(version: int | None, state: str = "serving", status: int = 200) -> None:
    Ready.answer = (status, {"ready": True, "models": {"iris": {"state": state, "version": version, "message": "m"}}})


def test_the_service_says_what_it_serves_and_since_when_it_says_so(service: ServiceClient) -> None:
    says(1)
    alone = ask_service(service, NOW)
    assert alone.models == {"iris": ServedVersion("serving", 1, "m", None)}
    assert (alone.error, alone.answered_at) == (None, NOW)
    first = ask_service(service, NOW, alone)
    second = ask_service(service, NOW + MINUTE, first)
    assert second.models["iris"].seen_since == first.models["iris"].seen_since == NOW
    says(None, "load_failed", status=503)
    third = ask_service(service, NOW + 2 * MINUTE, second)
    assert third.models["iris"] == ServedVersion("load_failed", None, "m", NOW + 2 * MINUTE)


@pytest.mark.parametrize("document", [[], {"detail": "bad gateway"}, {"models": [1]}, {"models": {"iris": 1}}, None])
def test_another_program_in_its_place_is_no_answer(service: ServiceClient, document: object) -> None:
    Ready.answer = (502, document)
    assert ask_service(service, NOW).error == "the answer 502 is not that of the service"


def test_no_service_keeps_the_time_of_its_last_answer(service: ServiceClient) -> None:
    says(1)
    before = ask_service(service, NOW)
    gone = ask_service(ServiceClient("http://127.0.0.1:9"), NOW + MINUTE, before)
    assert gone.error is not None
    assert gone.error.startswith("no answer (ConnectionRefusedError")
    assert (gone.answered_at, gone.models) == (NOW, {})


def test_heartbeats_are_files_and_end_with_their_process(tmp_path: Path) -> None:
    assert read_heartbeats(tmp_path) == {}
    beat(tmp_path, "watch")
    beat(tmp_path, "watch")
    beat(tmp_path, "housekeeping")
    found = read_heartbeats(tmp_path)
    assert list(found) == ["housekeeping", "watch"]
    assert all(abs(datetime.now(UTC) - at) < timedelta(seconds=30) for at in found.values())
    end_heartbeat(tmp_path, "watch")
    end_heartbeat(tmp_path, "watch")
    assert list(read_heartbeats(tmp_path)) == ["housekeeping"]


def test_the_free_space_is_that_of_the_folder(tmp_path: Path) -> None:
    disk = free_space(tmp_path)
    assert disk is not None
    assert 0 < disk.free <= disk.total
    assert free_space(tmp_path / "none") is None


def test_what_is_expected_follows_from_settings_and_the_running_stack(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert expected_parts(settings) == frozenset()
    assert expected_parts(Settings(home=tmp_path, service_url="http://service:8090")) == {"service"}
    assert expected_parts(Settings(home=tmp_path, airflow_database_url=URL)) == {"airflow"}
    lock = tmp_path / "local" / "launcher.lock"
    lock.parent.mkdir()
    with lock.open("a+") as file:
        assert not stack_runs(tmp_path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert expected_parts(settings) == {"service", "airflow"}


def test_airflow_s_tables_are_in_the_same_server_by_default(tmp_path: Path) -> None:
    assert airflow_database_url(Settings(home=tmp_path), URL) == "postgresql://sluice@db.example/airflow"
    other = "postgresql://airflow@elsewhere/meta"
    assert airflow_database_url(Settings(home=tmp_path, airflow_database_url=other), URL) == other


def test_one_look_survives_that_everything_is_away(engine: Engine, tmp_path: Path) -> None:
    declare_model(tmp_path / "models")
    letters = tmp_path / "models" / "letters"
    letters.mkdir()
    (letters / "spec.py").write_text("spec = 1 +\n")
    settings = Settings(home=tmp_path, service_url="http://127.0.0.1:9")
    declared = declared_models(tmp_path / "models")
    everything = frozenset({"airflow", "service"})
    away = create_engine(engine.url.set(database="no_such_database"))

    state = observe(declared, settings, away, away, NOW, expected=everything)
    assert [each.kind for each in find_problems(state, NOW) if each.kind != "disk_filling"] == [
        "database_down", "service_down", "broken_declaration",
    ]  # fmt: skip
    state = observe(declared, settings, engine, away, NOW, expected=everything, before=state)
    assert state.ledger_read_at == NOW
    assert [each.kind for each in find_problems(state, NOW) if each.kind != "disk_filling"] == [
        "service_down", "broken_declaration", "airflow_unreadable",
    ]  # fmt: skip
    later = observe(declared, settings, away, None, NOW + MINUTE, before=state, began=NOW)
    assert (later.ledger, later.ledger_read_at) == (None, NOW)
