"""kill -9 of Airflow's scheduler while it scores four partitions: each is the old one or the new one, whole.

``SLUICE_CHAOS_KILLS=10`` for the long run; each kill meets up to four runs in flight.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from deploy.local_stack.airflow_home import COMMANDS
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.restart_policy import RestartPolicy
from deploy.local_stack.stack import Stack
from include.inference import Scorer, load_scorer
from include.models import declared_models
from include.registry import Ledger, open_artifact_store
from include.scoring.binary_copy import CopyWriter
from include.scoring.row_digests import format_digest
from include.scoring.rows import ScoredBatch, score_batches
from include.spec import ModelSpec
from include.warehouse.rows import open_rows
from tests.dags.conftest import write_model
from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("SLUICE_CHAOS_KILLS", "2"))
MODEL = "plum"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = tuple(TODAY - timedelta(days=100 + number) for number in range(4))  # max_active_runs of the scoring DAG
ROWS = 12_000
SHARDS = 3
TASKS = len(DAYS) * (3 + SHARDS)  # validate, plan, a score each, publish
# A row in a hundred takes its time, so that a kill finds shards under way.
SLOW = f"""\
SELECT id, seen_at, size, label FROM source.{MODEL},
    LATERAL (SELECT pg_sleep(CASE WHEN id > 1000000 AND id % 100 = 0 THEN 0.02 ELSE 0 END)) AS pause
WHERE seen_at >= :period_start AND seen_at < :period_end
"""
SOURCE = f"""\
CREATE TABLE source.{MODEL} (id bigint PRIMARY KEY, seen_at timestamptz, size double precision, label text);
INSERT INTO source.{MODEL} SELECT number, timestamptz '{{today}}' - number * interval '1 hour', size,
       CASE WHEN size + (number * 31 % 41) > 70 THEN 'large' ELSE 'small' END
FROM (SELECT number, (number * 37 % 101)::double precision AS size FROM generate_series(1, 24 * 40) AS number) AS made;
"""
DAY_OF_ROWS = (
    f"INSERT INTO source.{MODEL} SELECT %s * 1000000 + n, %s, n %% 101, NULL FROM generate_series(1, {ROWS}) n"
)
OTHER_VALUES = f"UPDATE source.{MODEL} SET size = (id * 37 + %s) %% 101 WHERE id > 1000000"


@dataclass
class Chaos:
    """A stack that its keeper restarts, a model with a champion, and four days to be scored again and again."""

    stack: Stack
    spec: ModelSpec
    scorer: Scorer
    version: int
    dice: random.Random = field(default_factory=random.Random)

    def published(self, day: datetime) -> tuple[int, str]:
        """Return sequence and digest of what a reader sees now, after checking that it is one publication, whole."""
        query = sql.SQL(
            "SELECT entity_key, (extract(epoch FROM event_time) * 1000000)::bigint, {}, model_version, predicted_label "
            "FROM scores.{} WHERE partition_start = %s"
        ).format(
            sql.SQL(", ").join(sql.Identifier(f"p_{label}") for label in self.spec.target.classes),
            sql.Identifier(MODEL),
        )
        with psycopg.connect(self.stack.database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            sequence, version, count, digest = connection.execute(
                "SELECT sequence, version, row_count, rows_digest FROM sluice.published_partition"
                " WHERE model = %s AND partition_start = %s",
                (MODEL, day),
            ).fetchone() or (0, 0, 0, "none")
            rows = connection.execute(query, (day,)).fetchall()
        assert len(rows) == count, "the rows are those that the ledger tells of"
        keys, times, small, large, versions, labels = zip(*rows, strict=True)
        assert set(versions) == {version} == {self.version}
        classes = self.spec.target.classes
        scored = ScoredBatch(
            keys=pa.array(keys, pa.int64()),
            times=np.array(times, np.int64),
            scores=np.array([small, large], np.float64).T.copy(),
            labels=np.array([classes.index(label) for label in labels], np.intp),
        )
        assert self.digest(day, [scored]) == digest, "the digest in the ledger is that of the rows"
        return sequence, digest

    def to_be_published(self, day: datetime) -> str:
        """Return the digest of the scores that the source's rows must get, worked out here."""
        query = (
            f"SELECT id, seen_at, size FROM source.{MODEL} "
            f"WHERE seen_at >= '{day.isoformat()}' AND seen_at < '{(day + timedelta(days=1)).isoformat()}'"
        )
        with open_rows(self.stack.database_url, query) as batches:
            return self.digest(day, score_batches(batches, self.scorer))

    def digest(self, day: datetime, batches: Any) -> str:
        writer = CopyWriter(self.spec.target.classes, [int(day.timestamp() * 1_000_000), self.version])
        (sums,) = (writer.block(batch)[1] for batch in batches)
        return format_digest(sums)

    def start_runs(self) -> list[str]:
        conf = [{"partition": f"{day:%Y-%m-%d}", "shards": SHARDS} for day in DAYS]
        return [self.stack.api.trigger(f"score_{MODEL}", each, "Started by a test.") for each in conf]

    def states(self, runs: list[str]) -> list[str]:
        return [self.stack.api.run_state(f"score_{MODEL}", run) for run in runs]

    def tasks(self, runs: list[str], *states: str) -> list[str]:
        """Return the names of the runs' tasks that are in one of these states."""
        tasks = (task for run in runs for task in self.stack.api.tasks(f"score_{MODEL}", run))
        return sorted(task.task_id for task in tasks if task.state in states)

    def tries(self, runs: list[str]) -> Counter[int]:
        """Return how many tasks of the runs took how many tries."""
        return Counter(task.try_number for run in runs for task in self.stack.api.tasks(f"score_{MODEL}", run))

    def finished(self, runs: list[str], allowed: dict[datetime, list[tuple[int, str]]]) -> None:
        """Wait until all runs have ended, looking at every partition meanwhile."""

        def ended() -> bool:
            for day, ways in allowed.items():
                assert self.published(day) in ways
            return set(self.states(runs)) <= {"success", "failed"}

        wait_for(ended, 300, "the runs to end")
        assert self.states(runs) == ["success"] * len(runs)

    def staging(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url) as connection:
            return connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p')"
            ).fetchall()

    def other_values(self, turn: int) -> None:
        with psycopg.connect(self.stack.database_url) as connection:
            connection.execute(OTHER_VALUES, (turn,))

    def kill_scheduler(self, *, children: bool) -> int:
        """Kill -9 the scheduler, alone or with all that it started, at once; return how many died."""
        (scheduler,) = (each for each in self.stack.supervisor.running() if is_scheduler(each))
        family = [scheduler, *(scheduler.children(recursive=True) if children else ())]
        for each in family:
            each.suspend()  # nobody notices the others' death
        for each in family:
            each.kill()
        return len(family)


def is_scheduler(process: psutil.Process) -> bool:
    """Tell whether it is the scheduler itself, the leader of its session; its children may have its title."""
    try:
        return os.getsid(process.pid) == process.pid and COMMANDS["scheduler"][0] in " ".join(process.cmdline())
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.fixture(scope="module")
def chaos(private: Stack) -> Iterator[Chaos]:
    declare(private.settings.models_dir)
    with psycopg.connect(private.database_url, autocommit=True) as connection:
        connection.execute(SOURCE.format(today=TODAY.isoformat()))
        for number, day in enumerate(DAYS, start=1):
            connection.execute(DAY_OF_ROWS, (number, day + timedelta(hours=1)))
    wanted = {f"retrain_{MODEL}", f"score_{MODEL}"}
    wait_for(lambda: wanted <= set(private.api.dags()), 120, "the DAGs")
    run = private.api.trigger(f"retrain_{MODEL}", {}, "Started by a test.")
    wait_for(lambda: private.api.run_state(f"retrain_{MODEL}", run) == "success", 300, "the champion")
    registered = Ledger(private.warehouse).version(MODEL, 1)
    files = open_artifact_store(private.settings).open(MODEL, 1, registered.artifact_digest)
    stop = threading.Event()
    keeper = RestartPolicy(
        private.supervisor, ProgressReporter(), stable_seconds=10
    )  # none of the kills is in a row with another
    keeping = threading.Thread(target=keeper.supervise, args=(stop,))
    keeping.start()
    try:
        yield Chaos(private, declared_models(private.settings.models_dir).specs[MODEL], load_scorer(files), 1)
    finally:
        stop.set()
        keeping.join()


def declare(models: Path) -> None:
    folder = write_model(models, MODEL)
    (folder / "features.sql").write_text(SLOW)
    spec = (folder / "spec.py").read_text()
    for old, new in (
        ("import ScoreStart,", "import ScoreStart, Scoring,"),
        ('    retrain_schedule="0 3 * * *",', '    retrain_schedule=None,\n    scoring=Scoring(parity="off"),'),
        ('    score_schedule="0 0 * * *",', "    score_schedule=None,"),
        ("partition_rows=(1, 1_000)", "partition_rows=(1, 100_000)"),
    ):
        assert old in spec
        spec = spec.replace(old, new)
    (folder / "spec.py").write_text(spec)


def test_kill_9_of_the_scheduler_leaves_the_old_partitions_or_the_new_ones_whole(chaos: Chaos) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    chaos.dice.seed(seed)
    began = time.monotonic()
    chaos.finished(chaos.start_runs(), {})
    print(f"undisturbed, four partitions take {time.monotonic() - began:.1f} s")
    before = {day: chaos.published(day) for day in DAYS}
    met = 0
    for turn in range(KILLS):
        chaos.other_values(turn + 1)
        after = {day: (before[day][0] + 1, chaos.to_be_published(day)) for day in DAYS}
        assert all(before[day][1] != after[day][1] for day in DAYS)
        runs = chaos.start_runs()
        # At random, and yet not all of them early or late, however fast the machine is.
        done = int((TASKS - 2) * (turn + chaos.dice.random()) / KILLS)
        wait_for(partial(has_done, chaos, runs, done), 120, f"{done} tasks to be done", every=0.1)
        time.sleep(chaos.dice.uniform(0, 0.5))
        at_work = chaos.tasks(runs, "queued", "running")
        met += len(at_work)
        dead = chaos.kill_scheduler(children=turn % 2 == 1)
        killed = time.monotonic()
        print(f"kill {turn} after {done} of {TASKS} tasks, of {dead} processes; under way: {Counter(at_work)}")
        chaos.finished(runs, {day: [before[day], after[day]] for day in DAYS})
        print(f"all runs ended {time.monotonic() - killed:.1f} s after it; tries: {chaos.tries(runs)}")
        assert {day: chaos.published(day) for day in DAYS} == after, "published once, and rightly"
        wait_for(lambda: not chaos.staging(), 20, "staging to be empty")
        before = after
    assert met, "no kill met a task"


def has_done(chaos: Chaos, runs: list[str], tasks: int) -> bool:
    return len(chaos.tasks(runs, "success")) >= tasks
