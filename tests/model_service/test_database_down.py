"""The database goes away under load, and comes back: predictions never notice."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from include.warehouse import migrate, open_engine, start_embedded, stop_embedded
from tests.builders import keep_port

log = logging.getLogger(__name__)

ANSWERS = 100  # of each client, while the database is away
SETOSA = {"features": [5.1, 3.5, 1.4, 0.2]}
SCORES = """
CREATE TABLE scores.iris (
    partition_start timestamptz NOT NULL, entity_key bigint NOT NULL, event_time timestamptz NOT NULL,
    p_setosa double precision, p_versicolor double precision, p_virginica double precision,
    predicted_label text, model_version integer NOT NULL, scored_at timestamptz NOT NULL,
    PRIMARY KEY (entity_key, partition_start)
);
INSERT INTO scores.iris SELECT '2013-01-01', i, '2013-01-01', 1, 0, 0, 'setosa', 1, now() FROM generate_series(1, 9) i;
"""


@dataclass
class OwnServer:
    """A PostgreSQL of the test's own, which it may kill."""

    home: Path
    url: str = field(init=False)

    def start(self) -> None:
        self.url = start_embedded(self.home, durable=False)

    @property
    def pid(self) -> int:
        return int((self.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def stop_at_once(self) -> None:
        """Stop as `pg_ctl -m immediate` does: no goodbye to anybody."""
        postmaster = psutil.Process(self.pid)
        os.kill(postmaster.pid, signal.SIGQUIT)
        psutil.wait_procs([postmaster], timeout=10)

    def kill(self) -> None:
        """Kill the postmaster, which its other processes notice and follow; they must be gone before the next start."""
        postmaster = psutil.Process(self.pid)
        others = postmaster.children()
        postmaster.kill()
        _, alive = psutil.wait_procs([postmaster, *others], timeout=30)
        assert not alive

    def freeze(self, *, thaw: bool = False) -> None:
        """Have it answer nothing while it accepts connections: what no driver's timeout is made for."""
        postmaster = psutil.Process(self.pid)
        for process in [postmaster, *postmaster.children()]:
            os.kill(process.pid, signal.SIGCONT if thaw else signal.SIGSTOP)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path / "server")
    keep_port(server.home)
    server.start()
    migrate(server.url)
    yield server
    stop_embedded(server.home)


@pytest.fixture
def database_url(own_server: OwnServer) -> str:
    """In place of the session's server: everything in this file is on the test's own."""
    return own_server.url


@dataclass
class Seen:
    """What one client saw: when, how long it took, with which status."""

    answers: list[tuple[float, float, int]] = field(default_factory=list)
    without_retry_after: int = 0

    def between(self, start: float, end: float) -> list[tuple[float, float, int]]:
        return [each for each in self.answers if start <= each[0] and each[0] + each[1] <= end]


class Load:
    """Clients that predict (two), look up and list jobs, each on a connection of its own that it keeps."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.predictions, self.look_ups, self.jobs = [Seen(), Seen()], Seen(), Seen()
        self._stopping = threading.Event()
        clients: list[tuple[Seen, str, str, Any]] = [(each, "POST", "/predict", SETOSA) for each in self.predictions]
        clients.append((self.look_ups, "GET", "/v1/models/iris/scores/7", None))
        clients.append((self.jobs, "GET", "/v1/jobs", None))
        self._threads = [threading.Thread(target=self._ask_on_and_on, args=each) for each in clients]

    @property
    def seen(self) -> tuple[Seen, ...]:
        return (*self.predictions, self.look_ups)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask_on_and_on(self, seen: Seen, method: str, path: str, body: Any) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stopping.is_set():
            started = time.monotonic()
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            answer.read()
            seen.answers.append((started, time.monotonic() - started, answer.status))
            seen.without_retry_after += answer.status == 503 and not answer.headers["Retry-After"]
            time.sleep(0.005)
        connection.close()


def outage(
    harness: Any, run_service: Callable[..., Any], fault: Callable[[], None], cure: Callable[[], None], seconds: float
) -> Load:
    """Load the service, break the database for `seconds` and until all were answered often; return what they saw.

    All of it is checked.
    """
    harness.declare("iris")
    harness.champion("iris")
    with harness.engine.begin() as connection:
        connection.execute(text(SCORES))
    harness.engine.dispose()
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    workers = {each.pid for each in psutil.Process(service.process.pid).children()}
    with Load(service.port) as load:
        time.sleep(1)
        fault()
        broken = time.monotonic()
        time.sleep(seconds)
        service.wait_until(lambda: all(len(seen.between(broken, time.monotonic())) >= ANSWERS for seen in load.seen))
        cured = time.monotonic()
        cure()
        service.wait_until(lambda: [each[2] for each in load.look_ups.answers[-20:]] == [200] * 20, seconds=10)
        recovered = time.monotonic() - cured
        service.wait_until(lambda: [each[2] for each in load.jobs.answers[-20:]] == [200] * 20, seconds=10)
        time.sleep(0.5)
    assert {each.pid for each in psutil.Process(service.process.pid).children()} == workers, "no worker was restarted"
    for seen in load.predictions:
        assert {status for _, _, status in seen.answers} == {200}
        assert len(seen.between(broken, cured)) >= ANSWERS, "they go on while the database is away"
    during = load.look_ups.between(broken, cured)
    assert {status for _, _, status in during} == {503}
    assert {status for _, _, status in load.look_ups.answers} == {200, 503}
    assert load.look_ups.without_retry_after == 0
    # Their time-out is longer, so that they may be answered few times only before the circuit opens.
    assert {status for _, _, status in load.jobs.answers} == {200, 503}
    assert {status for _, _, status in load.jobs.between(broken, cured)} <= {503}
    assert load.jobs.without_retry_after == 0
    assert len(during) >= ANSWERS
    log.info(
        "predictions %d, longest %.0f ms; look-ups in the outage %d, longest %.0f ms; recovered after %.1f s",
        sum(len(each.answers) for each in load.predictions),
        max(took for each in load.predictions for _, took, _ in each.answers) * 1000,
        len(during),
        max(took for _, took, _ in during) * 1000,
        recovered,
    )
    return load


def test_with_the_database_killed_predictions_go_on_look_ups_are_503_at_once_and_recover(
    harness: Any, run_service: Callable[..., Any], own_server: OwnServer
) -> None:
    outage(harness, run_service, own_server.stop_at_once, own_server.start, 1)


@pytest.mark.slow
def test_a_minute_without_the_database(harness: Any, run_service: Callable[..., Any], own_server: OwnServer) -> None:
    outage(harness, run_service, own_server.stop_at_once, own_server.start, 60)


def test_a_database_that_hangs_is_left_alone_just_so(
    harness: Any, run_service: Callable[..., Any], own_server: OwnServer
) -> None:
    outage(harness, run_service, own_server.freeze, lambda: own_server.freeze(thaw=True), 1)


@pytest.mark.slow
def test_a_database_that_hangs_for_longer_than_every_timeout(
    harness: Any, run_service: Callable[..., Any], own_server: OwnServer
) -> None:
    # The longest is that of a connection: 2 s to connect, then TCP's own 2 s, which a stopped process does not break.
    outage(harness, run_service, own_server.freeze, lambda: own_server.freeze(thaw=True), 20)


def promote(harness: Any, sequence: int, version: int) -> None:
    """Make the promotion number `sequence`, however often the database fails meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            champion = harness.ledger.champion("iris")
            if champion.sequence == sequence:  # committed, although its answer was lost
                return
            harness.promote("iris", version)
        except SQLAlchemyError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("promotions", "kills"), [(10, 1), pytest.param(100, 5, marks=pytest.mark.slow)], ids=["10 and 1", "100 and 5"]
)
def test_a_postmaster_killed_again_and_again_while_champions_change_fails_no_prediction(
    harness: Any, run_service: Callable[..., Any], own_server: OwnServer, promotions: int, kills: int
) -> None:
    harness.declare("iris")
    for seed in (0, 1):
        harness.register("iris", seed)
    harness.promote("iris", 1)
    service = run_service(workers=2)
    service.wait_until(lambda: service.log.read_text().count("(sequence 1)") == 2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)  # it listens a little later
    workers = {each.pid for each in psutil.Process(service.process.pid).children()}
    step = promotions // kills
    with Load(service.port) as load:
        for number in range(1, promotions + 1):
            sequence = number + 1
            promote(harness, sequence, 1 + number % 2)
            if number % step == step // 2:  # at once, while the workers load the new champion
                own_server.kill()
                own_server.start()
            service.wait_until(lambda count=sequence: service.log.read_text().count(f"(sequence {count})") == 2)
    for seen in load.predictions:
        assert {status for _, _, status in seen.answers} == {200}
        assert len(seen.answers) >= ANSWERS
    assert {each.pid for each in psutil.Process(service.process.pid).children()} == workers, "no worker was restarted"
    with harness.engine.connect() as connection:
        made = connection.execute(text("SELECT count(*), max(sequence) FROM sluice.promotion")).one()
    assert tuple(made) == (promotions + 1, promotions + 1)
    assert service.ask("POST", "/predict", SETOSA)[1]["version"] == 1 + promotions % 2


def test_an_open_circuit_keeps_no_request_waiting(own_server: OwnServer) -> None:
    from model_service.db.executor import DatabaseUnavailableError, QueryExecutor

    engine = open_engine(own_server.url)
    executor = QueryExecutor(engine, timeout=0.5)
    assert executor.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1
    own_server.freeze()
    try:
        waited = []
        for _ in range(30):
            with pytest.raises(DatabaseUnavailableError) as refused:
                executor.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
            # Who waited in vain is told so by the cause; who was refused at once has none.
            waited.append(isinstance(refused.value.__cause__, FutureTimeoutError))
            time.sleep(0.1)
    finally:
        own_server.freeze(thaw=True)
    assert waited[:3] == [True] * 3, "the breaker gives it three tries"
    assert not any(waited[3:]), "and then nobody waits, also while it is tried again"
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert executor.run(lambda connection: connection.execute(text("SELECT 2")).scalar_one()) == 2
            break
        except DatabaseUnavailableError:
            time.sleep(0.1)
    else:
        raise AssertionError("it did not open again")
    engine.dispose()
