"""Analysts read while partitions change: never a part, never waiting. And many writers at once: no deadlock."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import timedelta

import psycopg
import pytest

from include.records import Period
from include.warehouse.rows import open_rows, rows_query
from tests.builders import declare_model
from tests.chaos.conftest import PATIENCE
from tests.scoring.conftest import DAY, Harness, open_harness

pytestmark = pytest.mark.slow
READERS, PUBLICATIONS, ROWS = 10, 50, 2_000


def test_ten_readers_during_fifty_publications_see_whole_partitions_and_never_wait(harness: Harness) -> None:
    name = harness.spec.name
    harness.score(ROWS, "ready")
    stop = threading.Event()
    seen: list[tuple[int, int, float]] = []
    failures: list[BaseException] = []

    def poll() -> None:
        try:
            # A wait for a lock of more than 200 ms is an error, however busy the machine is.
            options = "-c lock_timeout=200ms -c role=sluice_analyst"
            with psycopg.connect(harness.url, autocommit=True, options=options) as reader:
                for relation in itertools.cycle((name, f"{name}_latest")):
                    if stop.is_set():
                        return
                    started = time.perf_counter()
                    row = reader.execute(f"SELECT count(*), count(DISTINCT p_late) FROM scores.{relation}").fetchone()
                    assert row is not None
                    seen.append((row[0], row[1], time.perf_counter() - started))
                    time.sleep(0.01)  # so that there is time to publish, too
        except BaseException as error:  # noqa: BLE001  # the test shows it
            failures.append(error)

    readers = [threading.Thread(target=poll) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    for turn in range(PUBLICATIONS):
        harness.score(ROWS if turn % 2 else ROWS // 2, f"run {turn}", weight=turn)
    stop.set()
    for reader in readers:
        reader.join(PATIENCE)
    assert failures == []
    longest = max(seconds for _, _, seconds in seen)
    print(f"{len(seen):,} counts by {READERS} readers; the longest took {longest * 1000:.0f} ms")
    assert len(seen) > PUBLICATIONS
    assert {(rows, scores) for rows, scores, _ in seen} <= {(ROWS, 1), (ROWS // 2, 1)}


def test_partitions_of_several_models_and_a_snapshot_at_once_know_no_deadlock(harness: Harness, tmp_path) -> None:
    other = open_harness(harness.engine, harness.url, declare_model(tmp_path / "others", "chaos_other"))
    days = [Period(start=DAY.start + timedelta(days=n), end=DAY.end + timedelta(days=n)) for n in range(3)]
    failures: list[BaseException] = []

    def work(each: Harness, day: Period) -> None:
        try:
            for turn in range(4):
                each.score(ROWS, f"{day.start} {turn}", period=day, weight=turn)
        except BaseException as error:  # noqa: BLE001  # the test shows it
            failures.append(error)

    def snapshot() -> None:
        period = Period(start=days[0].start, end=days[-1].end)
        try:
            for _ in range(10):
                with open_rows(harness.url, rows_query(harness.spec.query, period, labelled=False)) as rows:
                    rows.read_all()
        except BaseException as error:  # noqa: BLE001  # the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(each, day)) for each in (harness, other) for day in days]
    threads.append(threading.Thread(target=snapshot))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    for each in (harness, other):
        counts = f"SELECT count(*) FROM scores.{each.spec.name} GROUP BY partition_start"
        assert each.read(counts) == [(ROWS,)] * 3
    assert harness.read("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    assert harness.staging == []
