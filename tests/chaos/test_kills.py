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
from tests.scoring.conftest import Laboratory

pytestmark = pytest.mark.slow
MOMENTS = 10


def spec_file(laboratory: Laboratory) -> str:
    return str(laboratory.spec.folder / "spec.py")


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


def stage_all(laboratory: Laboratory, plan: ScorePlan, try_number: int = 1) -> list[StagedShard]:
    return [laboratory.stage(plan, shard, try_number) for shard in range(plan.shards)]


def test_kill_9_of_a_shard(laboratory: Laboratory, dice: random.Random) -> None:
    laboratory.fill(ROWS, weight=32)
    known = (laboratory.url, spec_file(laboratory))
    measured = laboratory.plan(ROWS, "measured")
    usual = seconds_of(work.stage, *known, measured.to_plain(), 0)
    at_work = 0
    for turn in range(MOMENTS):
        before, weight = whole(laboratory), 8 + turn
        laboratory.fill(ROWS, weight=weight)
        plan = laboratory.plan(ROWS, f"killed {turn}", version=2)
        with process(work.stage, *known, plan.to_plain(), dice.randrange(plan.shards)) as (child, report):
            at_work += killed_at_work(child, report, dice.uniform(0, usual))
        assert whole(laboratory) == before
        staged = stage_all(laboratory, plan, try_number=2)  # the retry of the shard, and the other shards
        assert laboratory.publish(plan, staged).row_count == ROWS
        assert whole(laboratory) == (before[0] + 1, weight / 64, ROWS)
        assert laboratory.staging == []
    assert at_work > MOMENTS // 4, "most kills came when the work was done"


def test_kill_9_of_the_publication(laboratory: Laboratory, dice: random.Random) -> None:
    known = (laboratory.url, spec_file(laboratory))
    laboratory.fill(ROWS, weight=32)
    plan = laboratory.plan(ROWS, "measured", version=2)
    staged = stage_all(laboratory, plan)
    usual = seconds_of(work.publish, *known, plan.to_plain(), [each.to_plain() for each in staged])
    sequence, score, _ = whole(laboratory)
    at_work = 0
    for turn in range(MOMENTS):
        weight = 8 + turn
        laboratory.fill(ROWS, weight=weight)
        plan = laboratory.plan(ROWS, f"killed {turn}", version=2)
        staged = stage_all(laboratory, plan)
        arguments = (*known, plan.to_plain(), [each.to_plain() for each in staged])
        with process(work.publish, *arguments) as (child, report):
            at_work += killed_at_work(child, report, dice.uniform(0, usual))
        assert whole(laboratory) in [(sequence, score, ROWS), (sequence + 1, weight / 64, ROWS)]
        assert laboratory.publish(plan, staged).sequence == sequence + 1, "the retry publishes, once"
        sequence, score = sequence + 1, weight / 64
        assert whole(laboratory) == (sequence, score, ROWS)
        assert laboratory.staging == []
    assert at_work > MOMENTS // 4, "most kills came when the work was done"


def test_an_immediate_stop_of_postgresql(laboratory: Laboratory, home: Path, dice: random.Random) -> None:
    started = time.monotonic()
    laboratory.score(ROWS, "measured")
    usual = time.monotonic() - started
    sequence, score, _ = whole(laboratory)
    for turn in range(MOMENTS):
        weight = 8 + turn
        laboratory.fill(ROWS, weight=weight)
        outcome: list[object] = []
        scoring = threading.Thread(target=score_once, args=(laboratory, f"stopped {turn}", outcome))
        scoring.start()
        time.sleep(dice.uniform(0, usual))
        stop_at_once(home)
        scoring.join(PATIENCE)
        assert start_embedded(home) == laboratory.url
        assert outcome, "it neither ended nor failed"
        assert outcome[0] is None or isinstance(outcome[0], DatabaseError), outcome
        assert whole(laboratory) in [(sequence, score, ROWS), (sequence + 1, weight / 64, ROWS)]
        outcome.clear()
        score_once(laboratory, f"stopped {turn}", outcome)
        assert outcome == [None]
        sequence, score = sequence + 1, weight / 64
        assert whole(laboratory) == (sequence, score, ROWS)
        assert laboratory.staging == []


def score_once(laboratory: Laboratory, run_id: str, outcome: list[object]) -> None:
    try:
        plan = laboratory.plan(ROWS, run_id, version=2)
        laboratory.publish(plan, stage_all(laboratory, plan))
    except SluiceError as error:
        outcome.append(error)
    else:
        outcome.append(None)


def stop_at_once(home: Path) -> None:
    cluster = Cluster(home / "postgres")
    command = [*_unprivileged(cluster), binary("pg_ctl"), "-D", str(cluster.data), "-w", "-m", "immediate", "stop"]
    subprocess.run(command, check=True, capture_output=True, cwd="/")


@pytest.mark.parametrize("stage", ["shard", "publication"])
def test_a_task_paused_until_its_retry_has_published_cannot_write_and_says_fenced(
    laboratory: Laboratory, stage: str
) -> None:
    laboratory.fill(ROWS, weight=32)
    plan = laboratory.plan(ROWS, "paused", version=2)
    staged = stage_all(laboratory, plan) if stage == "publication" else []
    what = [each.to_plain() for each in staged] if staged else 0
    target = work.publish if staged else work.stage
    # What it is about to use is locked, so that it is sure to be paused in the middle of its work.
    start = plan.period.start
    gate_table = f"scores.{plan.model}_p{start:%Y%m%d_%H%M}" if staged else f"source.{plan.model}"
    arguments = (laboratory.url, spec_file(laboratory), plan.to_plain(), what)
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(psycopg.connect(laboratory.url))
        gate.execute(f"LOCK TABLE {gate_table} IN {'SHARE' if staged else 'ACCESS EXCLUSIVE'} MODE")
        child, report = stack.enter_context(process(target, *arguments))
        assert child.pid is not None
        wait_for_attempt(laboratory, plan, "publish" if staged else "shard")
        os.kill(child.pid, signal.SIGSTOP)
        gate.rollback()
        staged = staged or stage_all(laboratory, plan)
        published = laboratory.publish(plan, staged)
        before = whole(laboratory)
        os.kill(child.pid, signal.SIGCONT)
        assert report.poll(PATIENCE)
        kind, message = report.recv()
    assert kind == "FencedError", message
    assert "is fenced: attempt" in message
    assert whole(laboratory) == before == (published.sequence, 0.5, ROWS)
    assert laboratory.staging == []


def wait_for_attempt(laboratory: Laboratory, plan: ScorePlan, stage: str) -> None:
    """Wait until an attempt has begun in the database: from then on a successor has something to fence."""
    deadline = time.monotonic() + PATIENCE
    query = (
        f"SELECT 1 FROM sluice.score_attempt JOIN pg_stat_activity ON pid = backend_pid"
        f" WHERE model = '{plan.model}' AND plan = {plan.attempt} AND stage = '{stage}'"
    )
    while not laboratory.read(query):
        assert time.monotonic() < deadline
        time.sleep(0.001)
