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
from include.scoring.attempts import Work, taken_attempt
from include.warehouse import open_engine
from include.warehouse.rows import open_rows, rows_query
from tests.scoring.conftest import DAY, Laboratory, small_scorer

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def stage_after(laboratory: Laboratory, plan: ScorePlan, happens) -> StagedShard:
    """Stage the plan's one shard; in the middle of its rows, something happens."""

    @contextlib.contextmanager
    def opened() -> Iterator[Iterator[pa.RecordBatch]]:
        with open_rows(laboratory.url, rows_query(laboratory.spec, plan.period, labelled=False)) as rows:
            whole = rows.read_all().to_batches()[0]

            def halves() -> Iterator[pa.RecordBatch]:
                middle = whole.num_rows // 2
                yield whole.slice(0, middle)
                happens()
                yield whole.slice(middle)

            yield halves()

    scorer = small_scorer(laboratory.spec)
    return scoring.stage_shard(laboratory.engine, laboratory.spec, plan, 0, opened, scorer)


def test_a_newer_plan_fences_the_shards_and_the_publication_of_an_older_one(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    older = laboratory.plan(6, "one")
    staged = laboratory.stage(older)
    newer = laboratory.plan(6, "two")
    with pytest.raises(FencedError, match=r"shard 0 of model 'parcels'.*run one\) is fenced: attempt 3 \(run two\)"):
        laboratory.stage(older)
    with pytest.raises(FencedError, match=r"the publication of model 'parcels', partition 2026-02-20"):
        laboratory.publish(older, [staged])
    assert laboratory.publish(newer, [laboratory.stage(newer)]).run_id == "two"
    assert laboratory.staging == []


def test_the_retry_of_a_shard_ends_the_first_try_in_the_middle_of_its_rows(laboratory: Laboratory) -> None:
    laboratory.fill(1_000)
    plan = laboratory.plan(1_000)
    retried: list[StagedShard] = []
    with pytest.raises(FencedError, match=r"attempt 2 .* is fenced: attempt 3"):
        stage_after(laboratory, plan, lambda: retried.append(laboratory.stage(plan)))
    assert laboratory.publish(plan, retried).row_count == 1_000
    assert laboratory.read("SELECT count(*) FROM scores.parcels") == [(1_000,)]
    assert laboratory.staging == []


def test_a_first_try_that_ended_unheard_is_cleaned_by_its_retry(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    plan = laboratory.plan(6)
    laboratory.stage(plan)  # its task was killed before Airflow heard of it
    retried = laboratory.stage(plan)
    assert laboratory.staging == [retried.table]
    laboratory.publish(plan, [retried])
    assert laboratory.staging == []


def test_a_successor_does_not_wait_for_what_a_stalled_attempt_has_locked(laboratory: Laboratory) -> None:
    laboratory.score(6, "one")
    laboratory.fill(5, weight=32)
    stalled = laboratory.plan(5, "two")
    work = Work("parcels", DAY.start, "two", "publish", stalled.attempt)

    def publishing() -> None:
        with taken_attempt(laboratory.engine, work) as attempt, attempt.connection.transaction():
            attempt.hold()
            attempt.connection.execute("DELETE FROM scores.parcels")
            assert laboratory.score(4, "three").row_count == 4
            attempt.connection.execute("SELECT 1")  # it wakes up

    with pytest.raises(FencedError, match=r"run two\) is fenced: attempt .* \(run three\)"):
        publishing()
    assert laboratory.read("SELECT count(*) FROM scores.parcels") == [(4,)]


def test_an_attempt_that_could_not_be_ended_is_stopped_before_its_commit(laboratory: Laboratory) -> None:
    laboratory.fill(1_000)
    plan = laboratory.plan(1_000)

    def replaced() -> None:  # as by a role that may not end another role's connections
        with psycopg.connect(laboratory.url) as connection:
            connection.execute(
                "SELECT sluice.take_score_attempt('parcels', %s, 'shard', %s, 0, 'run', 1)", [DAY.start, plan.attempt]
            )

    with pytest.raises(FencedError, match=r"attempt 2 .* is fenced: attempt 3"):
        stage_after(laboratory, plan, replaced)
    assert laboratory.staging == []


def test_a_lost_connection_is_an_error_of_ours_that_is_worth_a_retry(laboratory: Laboratory) -> None:
    laboratory.fill(1_000)
    plan = laboratory.plan(1_000)

    def lost() -> None:
        laboratory.read(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE (pid, backend_start) IN (SELECT backend_pid, backend_start FROM sluice.score_attempt)"
        )

    with pytest.raises(DatabaseError, match=r"the database failed.*The published rows are as they were"):
        stage_after(laboratory, plan, lost)
    assert laboratory.publish(plan, [laboratory.stage(plan)]).row_count == 1_000


def test_many_plans_at_once_get_numbers_of_their_own(laboratory: Laboratory) -> None:
    laboratory.score(1)
    outcomes: list[object] = []

    def attempt(number: int) -> None:
        try:
            outcomes.append(laboratory.plan(1, f"run {number}").attempt)
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
    assert laboratory.score(2, "last").row_count == 2


def test_a_plan_given_up_leaves_nothing_and_housekeeping_finds_the_rest(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    plan = laboratory.plan(6, "one")
    laboratory.stage(plan)
    scoring.abandon(laboratory.engine, plan)
    assert laboratory.staging == []
    plan = laboratory.plan(6, "two")
    staged = laboratory.stage(plan)
    assert scoring.clean_staging(laboratory.engine, timedelta(days=1)) == [], "it may still be published"
    assert scoring.clean_staging(laboratory.engine, timedelta(0)) == [staged.table]
    assert laboratory.staging == []


def test_attempts_are_never_changed_or_removed(laboratory: Laboratory) -> None:
    laboratory.score(1)
    for statement in ("DELETE FROM sluice.score_attempt", "UPDATE sluice.score_attempt SET run_id = 'x'"):
        with (
            psycopg.connect(laboratory.url) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="append"),
        ):
            connection.execute(statement)


def test_a_database_that_does_not_answer_is_an_error_of_ours_at_every_stage(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    plan = laboratory.plan(6)
    staged = laboratory.stage(plan)
    gone = Laboratory(open_engine(NOWHERE), NOWHERE, laboratory.spec)
    for work in (lambda: gone.plan(6), lambda: gone.stage(plan), lambda: gone.publish(plan, [staged])):
        with pytest.raises(DatabaseError, match=r"the database failed: .*look whether the database runs"):
            work()
    assert laboratory.publish(plan, [staged]).row_count == 6


def test_an_earlier_try_that_wakes_up_after_a_later_one_took_its_number_gets_none(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    with taken_attempt(laboratory.engine, Work("parcels", DAY.start, "run", "plan", try_number=2)):
        pass
    with pytest.raises(FencedError, match=r"the plan .* is fenced: attempt 1 \(run run\)"):
        laboratory.plan(6)  # the first try, stopped before it had begun
    plan = laboratory.plan(6, "another run")
    staged = laboratory.stage(plan, try_number=2)
    with pytest.raises(FencedError, match=rf"shard 0 .* is fenced: attempt {staged.attempt} "):
        laboratory.stage(plan)
    assert laboratory.staging == [staged.table], "what the later try has staged is untouched"
    assert laboratory.publish(plan, [staged]).row_count == 6


def test_a_shard_that_wakes_up_after_its_plan_was_published_writes_nothing(laboratory: Laboratory) -> None:
    laboratory.fill(6)
    plan = laboratory.plan(6)
    published = laboratory.publish(plan, [laboratory.stage(plan)])
    with pytest.raises(FencedError, match=r"shard 0 .* is fenced: attempt 3 \(run run\)"):
        laboratory.stage(plan, try_number=2)
    assert laboratory.staging == []
    assert laboratory.read("SELECT count(*) FROM scores.parcels") == [(published.row_count,)]
