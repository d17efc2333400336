"""`make distributed`: shards run on both workers, and one worker killed in the middle costs no row."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from deploy.local_stack.airflow_api import MappedTask
from deploy.local_stack.airflow_home import WORKERS
from tests.e2e.conftest import REPOSITORY, RunningStack, connected, read_until_up, wait_for
from tests.e2e.diabetes import MEASURES, declare_diabetes, load_diabetes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="SKIPPED: there is no redis-server on PATH"),
]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = TODAY - timedelta(days=1)
# Every row of yesterday costs its shard what `source.pace` says, so that a worker can be killed in the middle.
SLOW = f"""SELECT patient, seen_at, {", ".join(MEASURES)}, progression
FROM source.diabetes, LATERAL (
    SELECT pg_sleep((SELECT seconds FROM source.pace)) FROM source.pace WHERE patient > 0
) AS pause
WHERE seen_at >= :period_start AND seen_at < :period_end"""


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the launcher said."""
    return []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("distributed")
    models = home / "models"
    # Of the samples this one alone: the other's schedule would begin to run, too.
    shutil.copytree(REPOSITORY / "include" / "models" / "flight_delay", models / "flight_delay")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SLUICE_"))}
    env |= {"SLUICE_HOME": str(home), "SLUICE_MODELS_DIR": str(models)}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local_stack", "--distributed"],
        cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said.append(read_until_up(process))
        stack = connected(process, home, models, said[0])
        with stack.airflow, stack.service:
            yield stack
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=120)
        assert "no process is left" in rest, rest


def test_the_shards_of_one_partition_ran_on_both_workers_by_airflow_s_records(
    stack: RunningStack, said: list[str]
) -> None:
    run = re.search(r"run (manual__\S+)", said[0])
    assert run
    shards = mapped(stack, "score_flight_delay", run[1])
    assert [shard.map_index for shard in shards] == list(range(8))
    assert {shard.worker for shard in shards} == set(WORKERS)
    published = stack.sql(
        "SELECT shards, row_count FROM sluice.published_partition"
        " WHERE model = 'flight_delay' AND partition_start = %s",
        YESTERDAY,
    )
    scored = stack.sql("SELECT count(*) FROM scores.flight_delay WHERE partition_start = %s", YESTERDAY)
    assert published == [(8, scored[0][0])]
    log = stack.call("GET", f"/dags/score_flight_delay/dagRuns/{run[1]}/taskInstances/score/logs/1?map_index=0")
    assert log["content"], "the log of a task on a worker is read in the UI"


def test_a_worker_killed_in_the_middle_costs_a_try_and_no_row(stack: RunningStack) -> None:
    load_diabetes(stack.database_url, until=TODAY)
    stack.sql("CREATE TABLE source.pace AS SELECT 0.0 AS seconds")
    declare_diabetes(stack.models)
    (stack.models / "diabetes" / "features.sql").write_text(SLOW)
    wanted = {"retrain_diabetes", "score_diabetes"}
    wait_for(lambda: wanted <= stack.dag_ids(), 120, "the DAGs of the new model")
    assert stack.finished("retrain_diabetes", stack.trigger("retrain_diabetes"), 400) == "success"
    (count,) = stack.sql("SELECT count(*) FROM source.diabetes WHERE seen_at >= %s AND seen_at < %s", YESTERDAY, TODAY)[
        0
    ]
    stack.sql("UPDATE source.pace SET seconds = %s", 12 / count)
    run = stack.trigger("score_diabetes", partition=f"{YESTERDAY:%Y-%m-%d}", shards=8)

    def at_work() -> bool:
        shards = mapped(stack, "score_diabetes", run)
        return {shard.worker for shard in shards if shard.state == "running"} == set(WORKERS)

    wait_for(at_work, 240, "both workers to be at work on shards")
    killed = kill_worker(stack, WORKERS[0])
    assert killed > 1, "the worker and its children"
    assert stack.finished("score_diabetes", run, seconds=400) == "success"
    shards = mapped(stack, "score_diabetes", run)
    assert len(shards) == 8
    assert max(shard.try_number for shard in shards) >= 2, "what the dead worker had was tried again"
    published = stack.sql("SELECT row_count, shards FROM sluice.published_partition WHERE model = 'diabetes'")
    assert published == [(count, 8)]
    assert stack.sql("SELECT count(*), count(DISTINCT entity_key) FROM scores.diabetes") == [(count, count)]
    left = stack.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert left == [], "staging is empty"


def mapped(stack: RunningStack, dag_id: str, run_id: str) -> list[MappedTask]:
    found = stack.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100})["task_instances"]
    return sorted(
        MappedTask(each["map_index"], each["state"], each["try_number"], each["hostname"], each["duration"])
        for each in found
        if each["task_id"] == "score" and each["map_index"] >= 0
    )


def titled(process: psutil.Process) -> str:
    """The title of a process; nothing of one that ended meanwhile (pool processes come and go)."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one of these
        return ""


def kill_worker(stack: RunningStack, name: str) -> int:
    """Kill -9 the worker of that name of this stack, with all that it started, at once."""
    # By its title: a process that gave itself one has overwritten the environment that it was started with.
    title = f"celery@{name}:MainProcess"
    started = psutil.Process(stack.process.pid).children(recursive=True)
    (worker,) = (process for process in started if title in titled(process))
    family = [worker, *worker.children(recursive=True)]
    for each in family:
        each.send_signal(signal.SIGSTOP)  # nobody notices the others' death
    for each in family:
        each.kill()
    return len(family)
