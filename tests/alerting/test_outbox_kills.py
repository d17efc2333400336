"""kill -9 at random moments of a process that raises, ends and delivers: nothing is lost, nothing is told twice.

``OUTBOX_KILLS`` sets how many kills: 1,000 by default.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.alerting import AlertDispatcher
from include.records import Alert
from include.settings import Settings
from include.warehouse import open_engine

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")  # what is imported stays imported: a process lives for some 50 ms
KILLS = int(os.environ.get("OUTBOX_KILLS", "1000"))
MODELS, CAUSES = 5, 3


def serve(report: Connection, file: Path) -> None:
    """Take messages, write the id and action of each to a file, and refuse every tenth."""
    dice = random.Random(0)  # noqa: S311  # no secret, here and below

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            accepted = dice.random() > 0.1
            if accepted:
                with file.open("a") as opened:
                    opened.write(f"{message['id']} {message['incident']} {message['action']}\n")
            self.send_response(200 if accepted else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), Taker)
    report.send(server.server_port)
    server.serve_forever()


def work(url: str, settings: Settings, log_file: Path, numbers: range, raised: Path) -> None:
    """Raise alerts and let runs succeed, as fast as it goes; note each alert that was raised."""
    engine = open_engine(url)
    dice = random.Random(numbers.start)  # noqa: S311
    dispatcher = AlertDispatcher(engine, settings, log_file)
    for number in numbers:
        model = f"m{dice.randrange(MODELS)}"
        began = datetime.now(UTC)
        dispatcher.raise_alert(alert(number, model, dice.randrange(CAUSES)), ["hook"])
        with raised.open("a") as opened:
            opened.write(f"{number}\n")
        if dice.random() < 0.5:
            dispatcher.succeeded(f"retrain_{model}", None, began + timedelta(seconds=1), model)


def alert(number: int, model: str, cause: int) -> Alert:
    return Alert(
        model=model,
        dag_id=f"retrain_{model}",
        task_id="train",
        run_id=f"run {number}",
        try_number=1,
        error=f"ValueError: {'abc'[cause]}",
        log_url=None,
        at=datetime.now(UTC),
    )


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A webhook in a process of its own; yields its address and the file of what it has accepted."""
    ours, theirs = FORK.Pipe()
    file = tmp_path / "accepted"
    file.touch()
    process = FORK.Process(target=serve, args=(theirs, file), daemon=True)
    process.start()
    yield f"webhook+http://127.0.0.1:{ours.recv()}/", file
    process.kill()
    process.join()


def test_kill_9_loses_no_alert_and_tells_nothing_twice(
    engine: Engine, database_url: str, settings: Settings, tmp_path: Path, hook: tuple[str, Path]
) -> None:
    address, accepted = hook
    told = settings.model_copy(update={"alert_channels": {"hook": address}})
    log_file, raised = tmp_path / "alerts.log", tmp_path / "raised"
    raised.touch()
    dice = random.Random(1)  # noqa: S311
    at_work = 0
    for kill in range(KILLS):
        numbers = range(1_000 * kill, 1_000 * kill + 3)
        process = FORK.Process(target=work, args=(database_url, told, log_file, numbers, raised))
        process.start()
        time.sleep(dice.uniform(0, 0.15))
        process.kill()
        process.join()
        at_work += process.exitcode != 0
    assert at_work > KILLS // 3, "most kills came when the work was done"

    dispatcher = AlertDispatcher(engine, told, log_file)
    for model in range(MODELS):
        dispatcher.succeeded(f"retrain_m{model}", None, datetime.now(UTC) + timedelta(seconds=1))
    while rows(engine, "SELECT 1 FROM sluice.alert_message WHERE delivered_at IS NULL"):
        with engine.begin() as connection:
            connection.execute(text("UPDATE sluice.alert_message SET next_attempt_at = created_at"))
        dispatcher.deliver(limit=10_000)

    stored = [run.removeprefix("run ") for (run,) in rows(engine, "SELECT run_id FROM sluice.alert")]
    assert set(raised.read_text().split()) <= set(stored), "what was raised is stored"
    assert len(stored) == len(set(stored)), "and stored once"
    assert rows(engine, "SELECT 1 FROM sluice.alert WHERE incident_id IS NULL") == []
    assert rows(engine, "SELECT 1 FROM sluice.incident WHERE resolved_at IS NULL") == [], "every incident ends"
    counted = dict(rows(engine, "SELECT incident_id, count(*) FROM sluice.alert GROUP BY 1"))
    assert counted == dict(rows(engine, "SELECT id, occurrences FROM sluice.incident"))
    received = [line.split() for line in accepted.read_text().splitlines()]
    ids: dict[str, tuple[str, str]] = {each[0]: (each[1], each[2]) for each in received}
    per_incident = Counter(action for action in ids.values())
    for incident in counted:
        assert per_incident[str(incident), "trigger"] == per_incident[str(incident), "resolve"] == 1
    print(f"\n{KILLS} kills, {at_work} at work; {len(stored)} alerts, {len(counted)} incidents, "
          f"{len(received)} messages accepted, {len(received) - len(ids)} of them repetitions")  # fmt: skip


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection, suppress(KeyError):
        return list(connection.execute(text(query)).all())
    return []
