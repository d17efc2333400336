"""Queries of requests on a real database: what opens the circuit, and what does not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from include.warehouse import open_engine
from model_service.db.circuit_breaker import CircuitState
from model_service.db.executor import DatabaseBusyError, DatabaseUnavailableError, QueryExecutor


def sleeping(seconds: float) -> Callable[[Connection], int]:
    def query(connection: Connection) -> int:
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return 1

    return query


def outcome(executor: QueryExecutor, query: Callable[[Connection], Any]) -> str:
    try:
        return str(executor.run(query))
    except DatabaseUnavailableError as error:
        return type(error).__name__


@pytest.fixture
def limited(database_url: str) -> Iterator[Engine]:
    """An engine whose server cancels a statement after 0.3 s, and a wait for a lock after 0.1 s."""
    options = {"options": "-c statement_timeout=300 -c lock_timeout=100"}
    engine = open_engine(database_url, pool_size=4, max_overflow=0, pool_timeout=1, connect_args=options)
    yield engine
    engine.dispose()


def test_more_queries_than_threads_are_refused_some_and_the_circuit_stays_closed(engine: Engine) -> None:
    executor = QueryExecutor(engine, timeout=3.0, threads=1)
    with ThreadPoolExecutor(40) as pool:
        found = Counter(pool.map(lambda _: outcome(executor, sleeping(0.3)), range(40)))
    assert set(found) == {"1", "DatabaseBusyError"}
    assert found["DatabaseBusyError"] > 10, "most of them waited in vain"
    assert executor.breaker.state is CircuitState.CLOSED
    assert outcome(executor, sleeping(0)) == "1"


def test_what_the_server_cancels_or_does_not_lock_says_that_it_is_there(limited: Engine) -> None:
    executor = QueryExecutor(limited, timeout=5.0)
    with limited.connect() as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(1)"))
        for query in (sleeping(60), lambda connection: connection.execute(text("SELECT pg_advisory_xact_lock(1)"))):
            for _ in range(4):
                assert outcome(executor, query) == "DatabaseBusyError"
                assert executor.breaker.state is CircuitState.CLOSED


def test_an_error_of_a_statement_is_the_request_s_own(engine: Engine) -> None:
    executor = QueryExecutor(engine, timeout=5.0)
    for _ in range(4):
        with pytest.raises(ProgrammingError):
            executor.run(lambda connection: connection.execute(text("SELECT nonsense")))
    assert executor.breaker.state is CircuitState.CLOSED


def test_connections_that_the_server_ends_open_it(engine: Engine) -> None:
    executor = QueryExecutor(engine, timeout=5.0)

    def suicide(connection: Connection) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert [outcome(executor, suicide) for _ in range(3)] == ["DatabaseUnavailableError"] * 3
    assert executor.breaker.state is not CircuitState.CLOSED


def test_queries_that_hang_open_it_also_when_requests_only_waited_for_a_thread(engine: Engine) -> None:
    """A hang that only those see whose query was never run: each of them waits in vain behind it."""
    executor = QueryExecutor(engine, timeout=0.5, threads=1)
    hangs, ends = threading.Event(), threading.Event()

    def hanging(connection: Connection) -> None:
        hangs.set()
        connection.execute(text("SELECT pg_sleep(30)"))
        ends.set()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcome, executor, hanging)
        assert hangs.wait(60)
        deadline = time.monotonic() + 25
        while executor.breaker.state is CircuitState.CLOSED:
            assert outcome(executor, sleeping(0)) in ("DatabaseBusyError", "DatabaseUnavailableError")
            assert time.monotonic() < deadline
        assert not ends.is_set()
        first.result()
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
    deadline = time.monotonic() + 60
    while outcome(executor, sleeping(0)) != "1":
        assert time.monotonic() < deadline, "it did not close again"
        time.sleep(0.1)


def test_what_python_does_with_the_rows_is_no_failure_of_the_database(engine: Engine) -> None:
    executor = QueryExecutor(engine, timeout=1.5)

    def slow_to_read(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        time.sleep(3)

    for _ in range(4):
        assert outcome(executor, slow_to_read) == "DatabaseBusyError"
    assert executor.breaker.state is CircuitState.CLOSED


def test_the_error_of_a_full_queue_is_an_unavailable_database_for_who_asks_for_no_more() -> None:
    assert issubclass(DatabaseBusyError, DatabaseUnavailableError)
    assert "too many queries" in str(DatabaseBusyError())
