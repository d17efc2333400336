"""Attempts have numbers: the newest wins, at once, and an older one can do nothing more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pyarrow as pa
import pytest

from include import scoring
from include.errors import DatabaseError, FencedError
from include.records import ScorePlan, StagedShard
from include.scoring.attempts import AttemptKey, acquire_attempt
from include.warehouse import open_engine
from include.warehouse.rows import open_rows, rows_query
from tests.scoring.conftest import DAY, Harness, small_scorer

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def stage_after(harness: Harness, plan: ScorePlan, happens) -> StagedShard:
    """Stage the plan's one shard; in the middle of its rows, something happens."""

    @contextlib.contextmanager
    def opened() -> Iterator[Iterator[pa.RecordBatch]]:
        with open_rows(harness.url, rows_query(harness.spec.query, plan.period, labelled=False)) as rows:
            whole = rows.read_all().to_batches()[0]

            def halves() -> Iterator[pa.RecordBatch]:
                middle = whole.num_rows // 2
                yield whole.slice(0, middle)
                happens()
                yield whole.slice(middle)

            yield halves()

    scorer = small_scorer(harness.spec)
    return scoring.stage_shard(harness.engine, harness.spec, plan, 0, opened, scorer)


def test_a_newer_plan_fences_the_shards_and_the_publication_of_an_older_one(harness: Harness) -> None:
    harness.fill(6)
    older = harness.plan(6, "one")
    staged = harness.stage(older)
    newer = harness.plan(6, "two")
    with pytest.raises(FencedError, match=r"shard 0 of model 'parcels'.*run one\) is fenced: attempt 3 \(run two\)"):
        harness.stage(older)
    with pytest.raises(FencedError, match=r"the publication of model 'parcels', partition 2026-02-20"):
        harness.publish(older, [staged])
    assert harness.publish(newer, [harness.stage(newer)]).run_id == "two"
    assert harness.staging == []


def test_the_retry_of_a_shard_ends_the_first_try_in_the_middle_of_its_rows(harness: Harness) -> None:
    harness.fill(1_000)
    plan = harness.plan(1_000)
    retried: list[StagedShard] = []
    with pytest.raises(FencedError, match=r"attempt 2 .* is fenced: attempt 3"):
        stage_after(harness, plan, lambda: retried.append(harness.stage(plan)))
    assert harness.publish(plan, retried).row_count == 1_000
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(1_000,)]
    assert harness.staging == []


def test_a_first_try_that_ended_unheard_is_cleaned_by_its_retry(harness: Harness) -> None:
    harness.fill(6)
    plan = harness.plan(6)
    harness.stage(plan)  # its task was killed before Airflow heard of it
    retried = harness.stage(plan)
    assert harness.staging == [retried.table]
    harness.publish(plan, [retried])
    assert harness.staging == []


def test_a_successor_does_not_wait_for_what_a_stalled_attempt_has_locked(harness: Harness) -> None:
    harness.score(6, "one")
    harness.fill(5, weight=32)
    stalled = harness.plan(5, "two")
    key = AttemptKey("parcels", DAY.start, "two", "publish", stalled.attempt)

    def publishing() -> None:
        with acquire_attempt(harness.engine, key) as attempt, attempt.connection.transaction():
            attempt.lock()
            attempt.connection.execute("DELETE FROM scores.parcels")
            assert harness.score(4, "three").row_count == 4
            attempt.connection.execute("SELECT 1")  # it wakes up

    with pytest.raises(FencedError, match=r"run two\) is fenced: attempt .* \(run three\).* see the newer run"):
        publishing()
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(4,)]


def test_an_attempt_that_could_not_be_ended_is_stopped_before_its_commit(harness: Harness) -> None:
    harness.fill(1_000)
    plan = harness.plan(1_000)

    def replaced() -> None:  # as by a role that may not end another role's connections
        with psycopg.connect(harness.url) as connection:
            connection.execute(
                "SELECT sluice.take_score_attempt('parcels', %s, 'shard', %s, 0, 'run', 1)", [DAY.start, plan.attempt]
            )

    with pytest.raises(FencedError, match=r"attempt 2 .* is fenced: attempt 3"):
        stage_after(harness, plan, replaced)
    assert harness.staging == []


def test_a_lost_connection_is_an_error_of_ours_that_is_worth_a_retry(harness: Harness) -> None:
    harness.fill(1_000)
    plan = harness.plan(1_000)

    def lost() -> None:
        harness.read(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE (pid, backend_start) IN (SELECT backend_pid, backend_start FROM sluice.score_attempt)"
        )

    with pytest.raises(DatabaseError, match=r"the database failed.*The published rows are as they were"):
        stage_after(harness, plan, lost)
    assert harness.publish(plan, [harness.stage(plan)]).row_count == 1_000


def test_many_plans_at_once_get_numbers_of_their_own(harness: Harness) -> None:
    harness.score(1)
    outcomes: list[object] = []

    def attempt(number: int) -> None:
        try:
            outcomes.append(harness.plan(1, f"run {number}").attempt)
        except (FencedError, DatabaseError) as error:  # ended by a newer one in the middle
            outcomes.append(error)

    threads = [threading.Thread(target=attempt, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [each for each in outcomes if isinstance(each, int)]
    assert len(outcomes) == 6
    assert numbers
    assert len(set(numbers)) == len(numbers)
    assert harness.score(2, "last").row_count == 2


def test_a_plan_given_up_leaves_nothing_and_housekeeping_finds_the_rest(harness: Harness) -> None:
    harness.fill(6)
    plan = harness.plan(6, "one")
    harness.stage(plan)
    scoring.abandon(harness.engine, plan)
    assert harness.staging == []
    plan = harness.plan(6, "two")
    staged = harness.stage(plan)
    assert scoring.clean_staging(harness.engine, timedelta(days=1)) == [], "it may still be published"
    assert scoring.clean_staging(harness.engine, timedelta(0)) == [staged.table]
    assert harness.staging == []


def test_attempts_are_never_changed_or_removed(harness: Harness) -> None:
    harness.score(1)
    for statement in ("DELETE FROM sluice.score_attempt", "UPDATE sluice.score_attempt SET run_id = 'x'"):
        with (
            psycopg.connect(harness.url) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="append"),
        ):
            connection.execute(statement)


def test_a_database_that_does_not_answer_is_an_error_of_ours_at_every_stage(harness: Harness) -> None:
    harness.fill(6)
    plan = harness.plan(6)
    staged = harness.stage(plan)
    gone = Harness(open_engine(NOWHERE), NOWHERE, harness.spec)
    for work in (lambda: gone.plan(6), lambda: gone.stage(plan), lambda: gone.publish(plan, [staged])):
        with pytest.raises(DatabaseError, match=r"the database failed: .*check that the database is running"):
            work()
    assert harness.publish(plan, [staged]).row_count == 6


def test_an_earlier_try_that_wakes_up_after_a_later_one_took_its_number_gets_none(harness: Harness) -> None:
    harness.fill(6)
    with acquire_attempt(harness.engine, AttemptKey("parcels", DAY.start, "run", "plan", try_number=2)):
        pass
    with pytest.raises(FencedError, match=r"the plan .* is fenced: attempt 1 \(run run\)"):
        harness.plan(6)  # the first try, stopped before it had begun
    plan = harness.plan(6, "another run")
    staged = harness.stage(plan, try_number=2)
    with pytest.raises(FencedError, match=rf"shard 0 .* is fenced: attempt {staged.attempt} "):
        harness.stage(plan)
    assert harness.staging == [staged.table], "what the later try has staged is untouched"
    assert harness.publish(plan, [staged]).row_count == 6


def test_a_shard_that_wakes_up_after_its_plan_was_published_writes_nothing(harness: Harness) -> None:
    harness.fill(6)
    plan = harness.plan(6)
    published = harness.publish(plan, [harness.stage(plan)])
    with pytest.raises(FencedError, match=r"shard 0 .* is fenced: attempt 3 \(run run\)") as caught:
        harness.stage(plan, try_number=2)
    assert "clear the run's task 'validate' with all tasks after it" in str(caught.value), "it was cleared alone"
    assert harness.staging == []
    assert harness.read("SELECT count(*) FROM scores.parcels") == [(published.row_count,)]
