"""A task holds no more connections than the pool's arithmetic counts with, whatever it does with the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import psycopg

from include import pipeline
from include.records import Period
from include.resources import Resources
from include.settings import CONNECTIONS_A_TASK, Settings
from tests.builders import TODAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))


@contextmanager
def counting(url: str) -> Iterator[list[int]]:
    """Count the connections to the database, again and again, but for the one that counts."""
    counted: list[int] = []
    over = threading.Event()

    def count() -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.wait(0.002):
                row = connection.execute(query).fetchone()
                counted.append(int(row[0]) if row else 0)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield counted
    finally:
        over.set()
        counter.join()


def test_training_and_scoring_stay_within_what_is_counted(resources: Resources) -> None:
    spec = declare_model(resources.settings.home / "models")
    load_parcels(resources.engine)
    with counting(resources.database_url) as counted:
        version = pipeline.retrain(spec, "run", TODAY, resources, rehearsal=None, until="gate").version
        pipeline.move_champion(spec.name, version.version, "tests", "to score with", resources)
        sharded = spec.model_copy(update={"scoring": spec.scoring.model_copy(update={"shard_rows": 10})})
        assert pipeline.score(sharded, "run", DAY, resources).shards == 4
    assert len(counted) > 50
    # One that was closed is counted until its process of the server has ended: what counts is what stays for a moment.
    assert 1 <= max(min(counted[start : start + 20]) for start in range(len(counted) - 20)) <= CONNECTIONS_A_TASK


def test_the_slots_of_the_pool_follow_from_the_connections() -> None:
    assert Settings(database_max_connections=40).database_pool_size == 8
    assert Settings(database_max_connections=5).database_pool_size == 1
