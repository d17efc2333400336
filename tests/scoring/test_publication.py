"""Publication: all of a partition or none of it, once, with the ledger's row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.errors import DatabaseError, PartitionOverlapError, ReconciliationError, ScoreBoundsError
from include.records import Period
from include.scoring import ensure_score_table
from include.scoring.row_digests import combine_sums, format_digest, parse_digest
from include.spec import ClassShare, MeanScore, Scoring
from tests.scoring.conftest import DAY, Harness

NEXT_DAY = Period.of_day(datetime(2026, 2, 21, tzinfo=UTC).date())


def test_each_row_says_version_time_and_the_probability_of_each_class(harness: Harness) -> None:
    harness.score(1, version=2)
    (row,) = harness.read(
        "SELECT entity_key, event_time, p_on_time, p_late, predicted_label, model_version, partition_start, scored_at"
        " FROM scores.parcels"
    )
    assert row[:7] == ('parcel, "0"', DAY.start, 0.75, 0.25, "on_time", 2, DAY.start)
    assert abs((row[7] - datetime.now(UTC)).total_seconds()) < 600


def test_the_ledger_says_what_was_published(harness: Harness) -> None:
    partition = harness.score(6)
    assert (partition.row_count, partition.sequence, partition.version) == (6, 1, 1)
    assert (partition.mode, partition.shards, partition.attempt) == ("champion", 1, 3)
    assert harness.read("SELECT row_count, rows_digest FROM sluice.published_partition") == [(6, partition.rows_digest)]
    assert harness.staging == []


def test_the_same_run_twice_publishes_once(harness: Harness) -> None:
    assert harness.score(6) == harness.score(6)
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(6,)]
    assert harness.staging == []


def test_a_backfill_that_is_repeated_in_the_other_mode_says_so_though_the_scores_are_the_same(
    harness: Harness,
) -> None:
    harness.fill(6)
    for mode in ("champion_then", "named", "named"):
        plan = harness.plan(6, "backfill__2026-02-20", mode=mode)
        harness.publish(plan, [harness.stage(plan)])
    assert harness.read("SELECT sequence, mode FROM sluice.partition_publication ORDER BY 1") == [
        (1, "champion_then"), (2, "named"),
    ]  # fmt: skip


def test_another_run_replaces_the_rows_with_a_higher_sequence_number(harness: Harness) -> None:
    harness.score(6, "one")
    second = harness.score(5, "two", weight=32, version=2)
    assert second.sequence == 2
    assert harness.read("SELECT count(*), min(p_late), min(model_version) FROM scores.parcels") == [(5, 0.5, 2)]
    assert harness.read("SELECT sequence, run_id FROM sluice.partition_publication ORDER BY 1") == [
        (1, "one"),
        (2, "two"),
    ]
    assert harness.staging == []


def test_a_partition_without_rows_can_be_published_first_and_last(harness: Harness) -> None:
    assert harness.score(0, "nothing yet").row_count == 0
    harness.score(6)
    assert harness.score(0, "emptied").sequence == 3
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(0,)]


def test_other_partitions_are_left_alone_and_the_newest_score_of_a_key_is_shown(harness: Harness) -> None:
    harness.score(6)
    harness.score(3, period=NEXT_DAY, weight=8)
    counts = "SELECT partition_start::date::text, count(*) FROM scores.parcels GROUP BY 1 ORDER BY 1"
    assert harness.read(counts) == [("2026-02-20", 6), ("2026-02-21", 3)]
    assert harness.read("SELECT p_late, count(*) FROM scores.parcels_latest GROUP BY 1 ORDER BY 1") == [
        (0.125, 3), (0.25, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("shard_rows", [1_000, 30, 7])
def test_shards_hold_every_row_once_and_digest_to_the_same(declare: Callable[..., Harness], shard_rows: int) -> None:
    harness = declare(scoring=Scoring(shard_rows=shard_rows))
    published = harness.score(100)
    assert published.shards == {1_000: 1, 30: 4, 7: 15}[shard_rows]
    assert harness.read("SELECT count(*), count(DISTINCT entity_key) FROM scores.parcels") == [(100, 100)]
    assert published.rows_digest == "sum128:cb2cd60e22456f0e4fcbd26144a1d456"
    assert harness.staging == []


def test_a_partition_in_shards_is_replaced_by_one_in_others(declare: Callable[..., Harness]) -> None:
    harness = declare(scoring=Scoring(shard_rows=30))
    harness.score(100, "one")
    assert harness.score(40, "two", weight=32).shards == 2
    assert harness.read("SELECT count(*), min(p_late) FROM scores.parcels") == [(40, 0.5)]
    assert harness.staging == []


def test_shards_become_the_partition_without_a_row_being_moved(declare: Callable[..., Harness]) -> None:
    harness = declare(scoring=Scoring(shard_rows=30))
    harness.fill(100)
    plan = harness.plan(100)
    staged = [harness.stage(plan, shard) for shard in range(plan.shards)]
    before = {
        table: harness.read(f"SELECT pg_relation_filenode('staging.{table}')")[0][0]
        for table in (shard.table for shard in staged)
    }
    harness.publish(plan, staged)
    after = harness.read("SELECT DISTINCT pg_relation_filenode(tableoid::regclass) FROM scores.parcels")
    assert {node for (node,) in after} == set(before.values())


def test_the_digest_does_not_depend_on_the_order_but_on_every_bit(harness: Harness) -> None:
    harness.fill(50)
    plan = harness.plan(50)
    first = harness.stage(plan).rows_digest
    with harness.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE source.mixed AS SELECT * FROM source.parcels ORDER BY md5(parcel_id)")
        connection.exec_driver_sql("TRUNCATE source.parcels")
        connection.exec_driver_sql("INSERT INTO source.parcels SELECT * FROM source.mixed")
    assert harness.stage(plan).rows_digest == first
    for change in ("weight = weight + 0.0001", "parcel_id = parcel_id || ' '", "sent_at = sent_at + interval '1 us'"):
        with harness.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE source.parcels SET {change} WHERE parcel_id = 'parcel, \"7\"'")
        assert harness.stage(plan).rows_digest != first
    assert format_digest(combine_sums([parse_digest(first), (0, 0)])) == first


def test_rows_that_do_not_reconcile_are_not_published(harness: Harness) -> None:
    before = harness.score(6)
    plan = harness.plan(7, "two")
    with pytest.raises(ReconciliationError, match=r"expected the 7 rows that were validated; scored 6"):
        harness.publish(plan, [harness.stage(plan)])
    assert harness.read("SELECT sequence, rows_digest FROM sluice.partition_publication") == [(1, before.rows_digest)]
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(6,)]


def test_a_staged_table_that_does_not_hold_what_its_task_said_is_not_published(harness: Harness) -> None:
    harness.score(6)
    harness.fill(7)
    plan = harness.plan(7, "two")
    staged = harness.stage(plan)
    with harness.engine.begin() as connection:
        connection.exec_driver_sql(f'DELETE FROM staging."{staged.table}" WHERE entity_key LIKE \'%%"0%%\'')
    with pytest.raises(ReconciliationError, match=r"expected the 7 rows of shard 0 in staging\..*; found 6"):
        harness.publish(plan, [staged])
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(6,)]


def test_a_missing_shard_is_not_published(declare: Callable[..., Harness]) -> None:
    harness = declare(scoring=Scoring(shard_rows=30))
    harness.fill(100)
    plan = harness.plan(100)
    staged = [harness.stage(plan, shard) for shard in (0, 1, 3)]
    with pytest.raises(ReconciliationError, match=r"expected the shards 0 to 3, each once; found \[0, 1, 3\]"):
        harness.publish(plan, staged)
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(0,)]


def test_a_key_that_comes_twice_is_refused(harness: Harness) -> None:
    harness.fill(6)
    with harness.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO source.parcels SELECT * FROM source.parcels LIMIT 1")
    with pytest.raises(ReconciliationError, match="expected every key once; found one twice"):
        harness.stage(harness.plan(7))
    assert harness.staging == []


def test_a_row_without_a_finite_score_is_refused_by_its_key(harness: Harness) -> None:
    harness.fill(6)
    with harness.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE source.parcels SET weight = 'NaN' WHERE parcel_id LIKE '%%3%%'")
    with pytest.raises(ReconciliationError, match=r"rows for which the model has an answer; found 1 in a batch .*3"):
        harness.stage(harness.plan(6))
    assert harness.staging == []


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        (
            MeanScore(column="p_late", minimum=0.2, maximum=0.3),
            r"the mean of p_late must be from 0.2 to 0.3; found 0.75",
        ),
        (
            ClassShare(label="late", minimum=0, maximum=0.5),
            r"the share of rows predicted 'late' must be from 0 to 0.5; found 1",
        ),
    ],
)
def test_scores_out_of_bounds_are_refused_and_the_former_rows_stay(
    declare: Callable[..., Harness], bound: MeanScore | ClassShare, reason: str
) -> None:
    harness = declare(scoring=Scoring(bounds=(bound,), shard_rows=4))
    harness.score(6, weight=16)
    with pytest.raises(ScoreBoundsError, match=reason):
        harness.score(6, "two", weight=48)
    assert harness.read("SELECT count(*), max(p_late) FROM scores.parcels") == [(6, 0.25)]
    assert harness.read("SELECT max(sequence) FROM sluice.partition_publication") == [(1,)]


def test_a_failure_in_the_middle_leaves_the_former_rows(harness: Harness) -> None:
    harness.score(6)
    harness.fill(20_000, weight=32)
    plan = harness.plan(20_000, "two")
    with harness.engine.begin() as connection:  # a value that only shows itself while the rows are being read
        connection.exec_driver_sql("ALTER TABLE source.parcels ALTER weight TYPE text USING weight::text")
        connection.exec_driver_sql("UPDATE source.parcels SET weight = 'heavy' WHERE parcel_id LIKE '%%19999%%'")
    with pytest.raises(DatabaseError, match=r"shard 0 of model 'parcels'.*heavy.*The published rows are as they were"):
        harness.stage(plan)
    assert harness.read("SELECT count(*), max(p_late) FROM scores.parcels") == [(6, 0.25)]
    assert harness.staging == []


def test_an_hourly_schedule_on_daily_partitions_is_refused_with_both_named(harness: Harness) -> None:
    harness.score(6)
    hour = Period(start=DAY.start + timedelta(hours=3), end=DAY.start + timedelta(hours=4))
    with pytest.raises(PartitionOverlapError, match=r"03:00 to 2026-02-20 04:00 UTC.*found 2026-02-20 00:00 to 2026"):
        harness.plan(6, period=hour)


def test_partitions_of_hours_are_published_side_by_side(harness: Harness) -> None:
    hours = [Period(start=DAY.start + timedelta(hours=n), end=DAY.start + timedelta(hours=n + 1)) for n in range(3)]
    for hour in hours:
        harness.score(2, period=hour)
    assert harness.read("SELECT count(*), count(DISTINCT partition_start) FROM scores.parcels") == [(6, 3)]


def test_a_reader_with_an_old_snapshot_never_sees_a_part(declare: Callable[..., Harness]) -> None:
    harness = declare(scoring=Scoring(shard_rows=30))
    harness.fill(100)
    plan = harness.plan(100)
    staged = [harness.stage(plan, shard) for shard in (0, 1)]
    with psycopg.connect(harness.url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1")  # its snapshot is of now, between two shards' loads
        staged += [harness.stage(plan, shard) for shard in (2, 3)]
        harness.publish(plan, staged)
        assert reader.execute("SELECT count(*) FROM scores.parcels").fetchone() in [(0,), (100,)]
        harness.score(40, "two")
        assert reader.execute("SELECT count(*) FROM scores.parcels").fetchone() == (100,), "its snapshot's rows stay"


def test_changed_classes_are_refused_rather_than_mixed(harness: Harness) -> None:
    harness.score(1)
    classes = harness.spec.target.model_copy(update={"classes": ("early", "late")})
    with pytest.raises(
        DatabaseError, match=r"expected the answer columns \['p_early', 'p_late'\].*give the changed model a new name"
    ):
        ensure_score_table(harness.engine, harness.spec.model_copy(update={"target": classes}))


def test_columns_carry_comments_also_in_partitions_and_in_the_view_of_the_newest(
    declare: Callable[..., Harness],
) -> None:
    harness = declare(scoring=Scoring(shard_rows=30))
    harness.score(100)
    query = (
        "SELECT relname, attname, col_description(attrelid, attnum) FROM pg_attribute JOIN pg_class ON oid = attrelid"
        " WHERE relnamespace = 'scores'::regnamespace AND relkind IN ('r', 'p', 'v')"
        " AND attnum > 0 AND NOT attisdropped"
    )
    found = harness.read(query)
    assert len({name for name, _, _ in found}) == 1 + 1 + 4 + 1
    assert [row for row in found if row[2] is None] == []
