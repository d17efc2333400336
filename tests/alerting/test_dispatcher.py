"""Alerts reach the log file, the table and the channels, whichever of the three is broken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.alerting import AlertDispatcher
from include.records import Alert
from include.settings import Settings
from include.warehouse import open_engine

AT = datetime(2026, 3, 1, 5, tzinfo=UTC)
ALERT = Alert(
    model="iris",
    dag_id="retrain_iris",
    task_id="train",
    run_id="manual__1",
    try_number=3,
    error="ValueError: the input holds infinity",
    log_url="https://airflow.example/dags/retrain_iris/runs/manual__1/tasks/train?try_number=3",
    at=AT,
)
DEAD = "json://127.0.0.1:1"
ADDRESS_WITH_KEY = "json://user:k3y0f0urs@127.0.0.1:1"


class Chat:
    """A chat service: an HTTP server that keeps what it is sent, and can be out of order."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        chat = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(chat.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"json://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat()
    threading.Thread(target=chat.server.serve_forever, daemon=True).start()
    yield chat
    chat.server.shutdown()
    chat.server.server_close()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "alerts.log"


def lines(log_file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]


def stored(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM sluice.alert ORDER BY id")).mappings()]


def with_channels(settings: Settings, **channels: str) -> Settings:
    return settings.model_copy(update={"alert_channels": channels})


def test_with_no_channel_configured_the_line_and_the_row_are_there(
    engine: Engine, settings: Settings, log_file: Path
) -> None:
    AlertDispatcher(engine, settings, log_file).raise_alert(ALERT)
    (row,) = stored(engine)
    (line,) = lines(log_file)
    for name, value in ALERT.model_dump(exclude={"at"}).items():
        assert row[name] == line[name] == value
    assert row["raised_at"] == AT
    assert row["delivered"] is True, "nobody else was to be told"
    assert line["event"] == "alert"


def test_a_message_names_model_dag_task_run_try_error_and_log(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    (message,) = chat.messages
    assert message["title"] == "Sluice: model iris: retrain_iris.train failed"
    assert message["message"].splitlines() == [
        "Model: iris",
        "DAG: retrain_iris",
        "Task: train",
        "Run: manual__1",
        "Try: 3",
        "At: 2026-03-01 05:00:00 UTC",
        "Error: ValueError: the input holds infinity",
        "Log: https://airflow.example/dags/retrain_iris/runs/manual__1/tasks/train?try_number=3",
    ]
    assert (stored(engine)[0]["channels"], stored(engine)[0]["delivered"]) == (["default"], True)


def test_a_channel_named_twice_gets_one_message(engine: Engine, settings: Settings, log_file: Path, chat: Chat) -> None:
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file)
    dispatcher.raise_alert(ALERT, ["default"])
    assert len(chat.messages) == 1


def test_broken_channels_are_recorded_each_with_its_reason_and_hide_no_other(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    channels = with_channels(settings, default=DEAD, wrong="nosuch://thing", good=chat.url)
    AlertDispatcher(engine, channels, log_file).raise_alert(ALERT, ["wrong", "unmapped", "good"])
    assert len(chat.messages) == 1
    (row,) = stored(engine)
    assert row["delivered"] is False
    default, wrong, unmapped, good = row["channels"]
    assert default.startswith("default: not delivered")
    assert wrong.startswith("wrong: Apprise cannot parse the address")
    assert unmapped == "unmapped: no address: map the channel in SLUICE_ALERT_CHANNELS"
    assert good == "good"
    undelivered = [line["channel"] for line in lines(log_file) if line["event"] == "alert_not_delivered"]
    assert undelivered == ["default", "wrong", "unmapped"]


def test_a_dead_database_hides_the_alert_from_nobody_else(settings: Settings, log_file: Path, chat: Chat) -> None:
    dead = open_engine("postgresql://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    AlertDispatcher(dead, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    assert len(chat.messages) == 1
    assert [line["event"] for line in lines(log_file)] == ["alert", "alert_not_stored"]


def test_no_database_at_all_is_the_same(settings: Settings, log_file: Path, chat: Chat) -> None:
    AlertDispatcher(None, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    assert len(chat.messages) == 1
    assert lines(log_file)[1]["why"] == "no database"


def test_a_log_file_that_cannot_be_written_hides_the_alert_from_nobody_else(
    engine: Engine, settings: Settings, tmp_path: Path, chat: Chat
) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url), tmp_path / "logs" / "alerts.log")
    dispatcher.raise_alert(ALERT)
    assert len(chat.messages) == 1
    assert len(stored(engine)) == 1


def test_an_address_which_holds_a_secret_is_written_nowhere(
    engine: Engine, settings: Settings, log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    AlertDispatcher(engine, with_channels(settings, default=ADDRESS_WITH_KEY), log_file).raise_alert(ALERT)
    assert "k3y0f0urs" not in log_file.read_text(encoding="utf-8")
    assert "k3y0f0urs" not in str(stored(engine))
    assert "k3y0f0urs" not in caplog.text


def test_a_very_long_error_is_cut_and_says_so(engine: Engine, settings: Settings, log_file: Path) -> None:
    AlertDispatcher(engine, settings, log_file).raise_alert(ALERT.model_copy(update={"error": "x" * 10_000}))
    assert stored(engine)[0]["error"].endswith("[6000 more characters in the log]")


def test_undelivered_alerts_are_sent_again_only_to_the_channels_that_missed_them(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    other = Chat()
    threading.Thread(target=other.server.serve_forever, daemon=True).start()
    chat.status = 503
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url, other=other.url), log_file)
    dispatcher.raise_alert(ALERT, ["other"])
    chat.status = 200
    hour = timedelta(hours=1)
    assert dispatcher.resend(AT, AT) == 0, "the newest may still be on their way"
    assert dispatcher.resend(AT - hour, AT + hour) == 1
    assert dispatcher.resend(AT - hour, AT + hour) == 0, "delivered is delivered"
    other.server.shutdown()
    other.server.server_close()
    assert (len(chat.messages), len(other.messages)) == (2, 1)
    assert (stored(engine)[0]["channels"], stored(engine)[0]["delivered"]) == (["default", "other"], True)


def test_an_alert_of_the_service_goes_to_the_default_channel_and_to_those_of_its_model(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    """It marked such an alert as delivered, and sent it to nobody."""
    with engine.begin() as connection:
        connection.execute(text("SELECT sluice.raise_service_alert('iris', 'version 3 could not be loaded', 'why')"))
    now = datetime.now(UTC)
    period = (now - timedelta(hours=1), now + timedelta(hours=1))
    nobody = AlertDispatcher(engine, settings, log_file)
    assert nobody.resend(*period) == 0
    assert (stored(engine)[0]["channels"], stored(engine)[0]["delivered"]) == ([], False)
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url, irises=DEAD), log_file)
    assert dispatcher.resend(*period, {"iris": ("irises",), "pear": ("pears",)}) == 0
    assert len(chat.messages) == 1
    (default, irises), delivered = stored(engine)[0]["channels"], stored(engine)[0]["delivered"]
    assert (default, irises.startswith("irises: "), delivered) == ("default", True, False)
    assert dispatcher.resend(*period, {"iris": ("irises",)}) == 0
    assert len(chat.messages) == 1, "not again to the channel that has it"


def test_what_needs_nobody_is_recorded_and_sent_to_nobody(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file)
    dispatcher.record(ALERT)
    assert (stored(engine)[0]["channels"], stored(engine)[0]["delivered"]) == ([], True)
    assert dispatcher.already_alerted(ALERT), "the run's callback does not tell it once more"
    assert dispatcher.resend(AT - timedelta(hours=1), AT + timedelta(hours=1)) == 0
    assert chat.messages == []


def test_a_failure_is_known_by_its_task_and_its_try(engine: Engine, settings: Settings, log_file: Path) -> None:
    dispatcher = AlertDispatcher(engine, settings, log_file)
    dispatcher.raise_alert(ALERT)

    def known(**changed: object) -> bool:
        return dispatcher.already_alerted(ALERT.model_copy(update=changed))

    assert known(error="in other words")
    assert not known(run_id="manual__2")
    assert not known(try_number=4), "it was cleared, and fails once more"
    assert not known(task_id="gate")
    assert known(task_id=None, try_number=None), "the run as a whole"
    assert not known(task_id=None, try_number=None, run_id="manual__2")
    assert not AlertDispatcher(None, settings, log_file).already_alerted(ALERT)
