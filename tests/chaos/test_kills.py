"""kill -9, SIGSTOP and an immediate stop of PostgreSQL, at random moments: old or new, whole; and clean in the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psycopg
import pytest

from include.errors import DatabaseError, SluiceError
from include.records import ScorePlan, StagedShard
from include.warehouse import start_embedded
from include.warehouse.embedded import Cluster, _unprivileged, binary
from tests.chaos import work
from tests.chaos.conftest import PATIENCE, ROWS, process, whole
from tests.scoring.conftest import Harness

pytestmark = pytest.mark.slow
MOMENTS = 10


def spec_file(harness: Harness) -> str:
    return str(harness.spec.folder / "spec.py")


def seconds_of(target: Callable[..., None], *arguments: object) -> float:
    """Return what `target` takes in a process of its own from when it may begin, undisturbed."""
    with process(target, *arguments) as (_, report):
        started = time.monotonic()
        assert report.poll(PATIENCE)
        assert report.recv()[0] in ("staged", "published")
        return time.monotonic() - started


def killed_at_work(child: BaseProcess, report: Connection, after: float) -> bool:
    """Kill the process after so many seconds, and tell whether it was still at work."""
    time.sleep(after)
    child.kill()
    child.join(PATIENCE)
    try:
        report.recv()
    except (EOFError, ConnectionResetError):  # it had said nothing
        return True
    return False


def stage_all(harness: Harness, plan: ScorePlan, try_number: int = 1) -> list[StagedShard]:
    return [harness.stage(plan, shard, try_number) for shard in range(plan.shards)]


def test_kill_9_of_a_shard(harness: Harness, dice: random.Random) -> None:
    harness.fill(ROWS, weight=32)
    known = (harness.url, spec_file(harness))
    measured = harness.plan(ROWS, "measured")
    usual = seconds_of(work.stage, *known, measured.to_plain(), 0)
    at_work = 0
    for turn in range(MOMENTS):
        before, weight = whole(harness), 8 + turn
        harness.fill(ROWS, weight=weight)
        plan = harness.plan(ROWS, f"killed {turn}", version=2)
        with process(work.stage, *known, plan.to_plain(), dice.randrange(plan.shards)) as (child, report):
            at_work += killed_at_work(child, report, dice.uniform(0, usual))
        assert whole(harness) == before
        staged = stage_all(harness, plan, try_number=2)  # the retry of the shard, and the other shards
        assert harness.publish(plan, staged).row_count == ROWS
        assert whole(harness) == (before[0] + 1, weight / 64, ROWS)
        assert harness.staging == []
    assert at_work > MOMENTS // 4, "most kills came when the work was done"


def test_kill_9_of_the_publication(harness: Harness, dice: random.Random) -> None:
    known = (harness.url, spec_file(harness))
    harness.fill(ROWS, weight=32)
    plan = harness.plan(ROWS, "measured", version=2)
    staged = stage_all(harness, plan)
    usual = seconds_of(work.publish, *known, plan.to_plain(), [each.to_plain() for each in staged])
    sequence, score, _ = whole(harness)
    at_work = 0
    for turn in range(MOMENTS):
        weight = 8 + turn
        harness.fill(ROWS, weight=weight)
        plan = harness.plan(ROWS, f"killed {turn}", version=2)
        staged = stage_all(harness, plan)
        arguments = (*known, plan.to_plain(), [each.to_plain() for each in staged])
        with process(work.publish, *arguments) as (child, report):
            at_work += killed_at_work(child, report, dice.uniform(0, usual))
        assert whole(harness) in [(sequence, score, ROWS), (sequence + 1, weight / 64, ROWS)]
        assert harness.publish(plan, staged).sequence == sequence + 1, "the retry publishes, once"
        sequence, score = sequence + 1, weight / 64
        assert whole(harness) == (sequence, score, ROWS)
        assert harness.staging == []
    assert at_work > MOMENTS // 4, "most kills came when the work was done"


def test_an_immediate_stop_of_postgresql(harness: Harness, home: Path, dice: random.Random) -> None:
    started = time.monotonic()
    harness.score(ROWS, "measured")
    usual = time.monotonic() - started
    sequence, score, _ = whole(harness)
    for turn in range(MOMENTS):
        weight = 8 + turn
        harness.fill(ROWS, weight=weight)
        outcome: list[object] = []
        scoring = threading.Thread(target=score_once, args=(harness, f"stopped {turn}", outcome))
        scoring.start()
        time.sleep(dice.uniform(0, usual))
        stop_at_once(home)
        scoring.join(PATIENCE)
        assert start_embedded(home) == harness.url
        assert outcome, "it neither ended nor failed"
        assert outcome[0] is None or isinstance(outcome[0], DatabaseError), outcome
        assert whole(harness) in [(sequence, score, ROWS), (sequence + 1, weight / 64, ROWS)]
        outcome.clear()
        score_once(harness, f"stopped {turn}", outcome)
        assert outcome == [None]
        sequence, score = sequence + 1, weight / 64
        assert whole(harness) == (sequence, score, ROWS)
        assert harness.staging == []


def score_once(harness: Harness, run_id: str, outcome: list[object]) -> None:
    try:
        plan = harness.plan(ROWS, run_id, version=2)
        harness.publish(plan, stage_all(harness, plan))
    except SluiceError as error:
        outcome.append(error)
    else:
        outcome.append(None)


def stop_at_once(home: Path) -> None:
    cluster = Cluster(home / "postgres")
    command = [*_unprivileged(cluster), binary("pg_ctl"), "-D", str(cluster.data), "-w", "-m", "immediate", "stop"]
    subprocess.run(command, check=True, capture_output=True, cwd="/")


@pytest.mark.parametrize("stage", ["shard", "publication"])
def test_a_task_paused_until_its_retry_has_published_cannot_write_and_says_fenced(harness: Harness, stage: str) -> None:
    harness.fill(ROWS, weight=32)
    plan = harness.plan(ROWS, "paused", version=2)
    staged = stage_all(harness, plan) if stage == "publication" else []
    what = [each.to_plain() for each in staged] if staged else 0
    target = work.publish if staged else work.stage
    # What it is about to use is locked, so that it is sure to be paused in the middle of its work.
    start = plan.period.start
    gate_table = f"scores.{plan.model}_p{start:%Y%m%d_%H%M}" if staged else f"source.{plan.model}"
    arguments = (harness.url, spec_file(harness), plan.to_plain(), what)
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(psycopg.connect(harness.url))
        gate.execute(f"LOCK TABLE {gate_table} IN {'SHARE' if staged else 'ACCESS EXCLUSIVE'} MODE")
        child, report = stack.enter_context(process(target, *arguments))
        assert child.pid is not None
        wait_for_attempt(harness, plan, "publish" if staged else "shard")
        os.kill(child.pid, signal.SIGSTOP)
        gate.rollback()
        staged = staged or stage_all(harness, plan)
        published = harness.publish(plan, staged)
        before = whole(harness)
        os.kill(child.pid, signal.SIGCONT)
        assert report.poll(PATIENCE)
        kind, message = report.recv()
    assert kind == "FencedError", message
    assert "is fenced: attempt" in message
    assert whole(harness) == before == (published.sequence, 0.5, ROWS)
    assert harness.staging == []


def wait_for_attempt(harness: Harness, plan: ScorePlan, stage: str) -> None:
    """Wait until an attempt has begun in the database: from then on a successor has something to fence."""
    deadline = time.monotonic() + PATIENCE
    query = (
        f"SELECT 1 FROM sluice.score_attempt JOIN pg_stat_activity ON pid = backend_pid"
        f" WHERE model = '{plan.model}' AND plan = {plan.attempt} AND stage = '{stage}'"
    )
    while not harness.read(query):
        assert time.monotonic() < deadline
        time.sleep(0.001)
