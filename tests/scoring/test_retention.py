"""Retention: what is old and needed by no look-up goes, without a reader waiting; the ledger remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from include.errors import PartitionInUseError
from include.records import Period
from include.scoring import drop_partitions
from include.spec import Scoring
from tests.scoring.conftest import DAY, Harness

WEEK = timedelta(days=7)
NOW = DAY.end + timedelta(days=10)


def day(number: int) -> Period:
    return Period(start=DAY.start + timedelta(days=number), end=DAY.end + timedelta(days=number))


def readable(harness: Harness) -> list[tuple]:
    return harness.read("SELECT partition_start, count(*) FROM scores.parcels GROUP BY 1 ORDER BY 1")


@pytest.mark.parametrize("shard_rows", [1_000, 2])
def test_old_partitions_go_unless_they_hold_a_newest_score(declare: Callable[..., Harness], shard_rows: int) -> None:
    harness = declare(scoring=Scoring(retention=WEEK, shard_rows=shard_rows))
    harness.score(6, period=day(0))  # parcels 0 to 5: 4 and 5 were never scored again
    harness.score(3, period=day(1))
    harness.score(4, period=day(2))
    harness.score(4, period=day(9))
    retired = drop_partitions(harness.engine, harness.spec, NOW)
    assert [(each.partition_start, each.row_count) for each in retired] == [(day(1).start, 3), (day(2).start, 4)]
    assert readable(harness) == [(day(0).start, 6), (day(9).start, 4)]
    assert harness.read("SELECT count(*) FROM scores.parcels_latest") == [(6,)], "no look-up lost its answer"


def test_without_keep_newest_age_decides_but_the_newest_partition_stays(declare: Callable[..., Harness]) -> None:
    harness = declare(scoring=Scoring(retention=WEEK, retain_latest=False))
    for number in (0, 1, 2):
        harness.score(3, period=day(number))
    assert len(drop_partitions(harness.engine, harness.spec, NOW)) == 2
    assert readable(harness) == [(day(2).start, 3)]
    assert drop_partitions(harness.engine, harness.spec, NOW) == ()
    told = "SELECT partition_start, row_count FROM sluice.published_partition"
    assert harness.read(told) == [(day(2).start, 3)]
    assert harness.read("SELECT count(*) FROM sluice.partition_publication") == [(3,)], "the ledger keeps its history"


def test_nothing_goes_when_nothing_is_declared(harness: Harness) -> None:
    harness.score(3, period=day(0))
    harness.score(3, period=day(1))
    assert drop_partitions(harness.engine, harness.spec, NOW + timedelta(days=3650)) == ()


def test_a_partition_is_removed_by_name_unless_a_look_up_needs_it(harness: Harness) -> None:
    harness.score(6, period=day(0))
    harness.score(3, period=day(1))
    harness.score(3, period=day(2))
    with pytest.raises(PartitionInUseError, match="it contains the newest score of a key"):
        drop_partitions(harness.engine, harness.spec, NOW, only=[day(0).start])
    with pytest.raises(PartitionInUseError, match="it is the newest partition"):
        drop_partitions(harness.engine, harness.spec, NOW, only=[day(2).start])
    (retired,) = drop_partitions(harness.engine, harness.spec, NOW, only=[day(1).start], reason="it was wrong")
    assert retired.reason == "it was wrong"
    with pytest.raises(PartitionInUseError, match="it is not published, or was already removed"):
        drop_partitions(harness.engine, harness.spec, NOW, only=[day(1).start])


@pytest.mark.parametrize(("run_id", "rows"), [("another", 2), ("scheduled", 3)], ids=["another run", "it, cleared"])
def test_a_removed_partition_can_be_scored_again(harness: Harness, run_id: str, rows: int) -> None:
    harness.score(3, "scheduled", period=day(0))
    harness.score(3, period=day(1))
    drop_partitions(harness.engine, harness.spec, NOW, only=[day(0).start])
    assert harness.score(rows, run_id, period=day(0)).sequence == 2
    assert readable(harness) == [(day(0).start, rows), (day(1).start, 3)]


def test_removal_waits_for_a_reader_and_other_readers_do_not(harness: Harness) -> None:
    harness.score(3, period=day(0))
    harness.score(3, period=day(1))
    removal = threading.Thread(
        target=drop_partitions, args=(harness.engine, harness.spec, NOW), kwargs={"only": [day(0).start]}
    )
    with psycopg.connect(harness.url) as long_one, psycopg.connect(harness.url, autocommit=True) as other:
        long_one.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert long_one.execute("SELECT count(*) FROM scores.parcels").fetchone() == (6,)
        removal.start()
        other.execute("SET lock_timeout = '200ms'")
        for _ in range(50):
            assert other.execute("SELECT count(*) FROM scores.parcels").fetchone() in [(6,), (3,)]
        assert long_one.execute("SELECT count(*) FROM scores.parcels").fetchone() == (6,)
        long_one.rollback()
        removal.join(60)
    assert readable(harness) == [(day(1).start, 3)]
