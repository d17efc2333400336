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
from include.alerting.dispatcher import SPOOL
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
    return [json.loads(line) for line in log_file.read_text(encoding="utf-8").strip("\n").split("\n")]


def stored(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM sluice.alert ORDER BY id")).mappings()]


def messages(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM sluice.alert_message ORDER BY id")).mappings()
        return [dict(row) for row in found]


def due_again(engine: Engine) -> None:
    """Let the time pass until every message is tried again."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE sluice.alert_message SET next_attempt_at = created_at"))


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
    assert row["incident_id"] is not None
    assert messages(engine) == [], "nobody else was to be told"
    assert line["event"] == "alert"


def test_a_message_says_what_since_when_what_users_get_what_to_do_and_where_to_look(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    (message,) = chat.messages
    incident = stored(engine)[0]["incident_id"]
    assert message["title"] == "Sluice [ticket] model iris: failed retrain"
    assert message["message"].splitlines() == [
        "What: retrain_iris.train failed: ValueError: the input holds infinity",
        "Model: iris",
        "Affected: manual__1",
        "Since: 2026-03-01 05:00:00 UTC",
        "Users get: no version answers; no partition is published",
        "To do: Read the log, remove the cause, and clear the failed task, or wait for the next run.",
        "Link: https://airflow.example/dags/retrain_iris/runs/manual__1/tasks/train?try_number=3",
        f"Incident: {incident} (`sluice alerts show {incident}`)",
        f"Id: incident-{incident}-1",
    ]
    (row,) = messages(engine)
    assert (row["channel"], row["attempts"], row["delivered_at"] is not None) == ("default", 1, True)


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
    rows = {row["channel"]: row for row in messages(engine)}
    assert [name for name, row in rows.items() if row["delivered_at"] is not None] == ["good"]
    assert rows["default"]["last_error"].startswith("not delivered")
    assert rows["wrong"]["last_error"].startswith("the address cannot be parsed")
    assert rows["unmapped"]["last_error"] == "no address: map the channel in SLUICE_ALERT_CHANNELS"
    undelivered = [line["channel"] for line in lines(log_file) if line["event"] == "alert_not_delivered"]
    assert sorted(undelivered) == ["default", "unmapped", "wrong"]


def test_a_dead_database_hides_the_alert_from_nobody_else(settings: Settings, log_file: Path, chat: Chat) -> None:
    dead = open_engine("postgresql://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    AlertDispatcher(dead, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    assert len(chat.messages) == 1
    assert [line["event"] for line in lines(log_file)] == ["alert", "alert_not_stored"]


def test_no_database_at_all_is_the_same(settings: Settings, log_file: Path, chat: Chat) -> None:
    AlertDispatcher(None, with_channels(settings, default=chat.url), log_file).raise_alert(ALERT)
    assert len(chat.messages) == 1
    assert lines(log_file)[1]["why"] == "ConnectionError: no database"


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
    assert "k3y0f0urs" not in str(stored(engine)) + str(messages(engine))
    assert "k3y0f0urs" not in caplog.text


def test_a_very_long_error_is_cut_and_says_so(engine: Engine, settings: Settings, log_file: Path) -> None:
    AlertDispatcher(engine, settings, log_file).raise_alert(ALERT.model_copy(update={"error": "x" * 10_000}))
    assert stored(engine)[0]["error"].endswith("[6000 more characters in the log]")


def test_a_message_is_tried_again_only_in_the_channel_that_missed_it_and_later_each_time(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    other = Chat()
    threading.Thread(target=other.server.serve_forever, daemon=True).start()
    chat.status = 503
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url, other=other.url), log_file)
    dispatcher.raise_alert(ALERT.model_copy(update={"at": datetime.now(UTC)}), ["other"])
    first = messages(engine)[0]
    assert dispatcher.deliver() == 0, "it waits for 5 s"
    assert len(chat.messages) == 1
    due_again(engine)
    assert dispatcher.deliver() == 0
    second = messages(engine)[0]
    assert second["attempts"] == 2
    assert second["next_attempt_at"] > first["next_attempt_at"] + timedelta(seconds=5)
    chat.status = 200
    due_again(engine)
    assert dispatcher.deliver() == 1
    due_again(engine)
    assert dispatcher.deliver() == 0, "delivered is delivered"
    other.server.shutdown()
    other.server.server_close()
    assert (len(chat.messages), len(other.messages)) == (3, 1)
    assert (
        len({line.partition("Id: ")[2] for each in chat.messages for line in [each["message"].splitlines()[-1]]}) == 1
    )


def test_a_channel_that_is_away_is_tried_once_and_delays_nobody_else(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    AlertDispatcher(engine, settings, log_file).raise_alert(ALERT)
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=DEAD, good=chat.url), log_file)
    for number in range(4):
        error = f"ValueError: {'abcd'[number]}"
        dispatcher.raise_alert(ALERT.model_copy(update={"error": error, "at": datetime.now(UTC)}), ["good"])
    due_again(engine)
    before = sum(row["attempts"] for row in messages(engine) if row["channel"] == "default")
    dispatcher.deliver()
    assert sum(row["attempts"] for row in messages(engine) if row["channel"] == "default") == before + 1
    assert len(chat.messages) == 4


def test_a_message_is_given_up_after_a_week_and_that_is_recorded(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    chat.status = 503
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file)
    dispatcher.raise_alert(ALERT.model_copy(update={"at": datetime.now(UTC) - timedelta(days=7, minutes=1)}))
    (row,) = messages(engine)
    assert row["abandoned_at"] is not None
    with engine.connect() as connection:
        events = connection.execute(text("SELECT event, details FROM sluice.incident_event ORDER BY id")).all()
    assert [event for event, _ in events] == ["opened", "undelivered"]
    assert "did not accept incident-" in events[1][1]


def test_an_alert_of_the_service_goes_to_the_default_channel_and_to_those_of_its_model(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    """It marked such an alert as delivered, and sent it to nobody."""
    with engine.begin() as connection:
        connection.execute(text("SELECT sluice.raise_service_alert('iris', 'version 3 could not be loaded', 'why')"))
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url, irises=DEAD), log_file)
    assert dispatcher.deliver({"iris": ("irises",), "pear": ("pears",)}) == 1
    assert chat.messages[0]["title"] == "Sluice [page] model iris: refused artifact"
    assert {row["channel"]: row["delivered_at"] is not None for row in messages(engine)} == {
        "default": True,
        "irises": False,
    }
    due_again(engine)
    assert dispatcher.deliver({"iris": ("irises",)}) == 0
    assert len(chat.messages) == 1, "not again to the channel that has it"


def test_what_needs_nobody_is_recorded_and_sent_to_nobody(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    dispatcher = AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file)
    dispatcher.record(ALERT)
    assert (stored(engine)[0]["needs_nobody"], stored(engine)[0]["incident_id"]) == (True, None)
    assert dispatcher.already_alerted(ALERT), "the run's callback does not tell it once more"
    assert dispatcher.deliver() == 0
    assert chat.messages == []


def test_alerts_of_a_time_without_database_are_told_at_once_by_cause_and_carried_over_later(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    told = with_channels(settings, default=chat.url)
    away = AlertDispatcher(None, told, log_file)
    for number in range(1, 6):
        away.raise_alert(ALERT.model_copy(update={"run_id": f"manual__{number}"}))
    away.raise_alert(ALERT.model_copy(update={"error": "ValueError: another cause"}))
    assert len(chat.messages) == 2, "one for each cause"
    again = AlertDispatcher(engine, told, log_file)
    again.deliver()
    assert len(chat.messages) == 2, "nothing is told twice"
    assert [row["run_id"] for row in stored(engine)] == [*(f"manual__{number}" for number in range(1, 6)), "manual__1"]
    spooled = {row["spool_id"] for row in stored(engine)}
    assert all(row["delivered_at"] is not None and row["reference"] in spooled for row in messages(engine))
    again.deliver()
    assert len(stored(engine)) == 6


@pytest.mark.parametrize("text", ["a NUL: \x00", "half a pair: \ud800", "\u2028 and \x1b"])
def test_an_error_of_any_characters_is_stored_and_told(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat, text: str
) -> None:
    alert = Alert.model_validate(ALERT.model_dump() | {"error": f"ValueError: {text}", "run_id": text})
    AlertDispatcher(engine, with_channels(settings, default=chat.url), log_file).raise_alert(alert)
    assert len(stored(engine)) == len(chat.messages) == len(lines(log_file)) == 1
    assert stored(engine)[0]["error"].startswith("ValueError: ")


def test_a_spooled_alert_that_the_database_refuses_stops_no_other(
    engine: Engine, settings: Settings, log_file: Path
) -> None:
    away = AlertDispatcher(None, settings, log_file)
    away.raise_alert(ALERT.model_copy(update={"try_number": 2**40}))
    away.raise_alert(ALERT)
    AlertDispatcher(engine, settings, log_file).deliver()
    assert [row["error"] for row in stored(engine)] == [ALERT.error]
    assert "alert_not_stored" in [line["event"] for line in lines(log_file)]


def test_a_spooled_alert_whose_file_a_crash_has_kept_is_stored_once(
    engine: Engine, settings: Settings, log_file: Path, chat: Chat
) -> None:
    AlertDispatcher(None, settings, log_file).raise_alert(ALERT)
    (file,) = (settings.home / SPOOL).glob("*.json")
    kept = file.read_bytes()
    AlertDispatcher(engine, settings, log_file).deliver()
    assert not file.exists()
    file.write_bytes(kept)
    AlertDispatcher(engine, settings, log_file).deliver()
    assert (len(stored(engine)), file.exists()) == (1, False)


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
