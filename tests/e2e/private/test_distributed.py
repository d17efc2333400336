"""`make distributed`: shards run on both workers, and one worker killed in the middle costs no row."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator

import psutil
import pytest

from deploy.local_stack.airflow_api import MappedTask
from deploy.local_stack.airflow_home import WORKERS
from tests.e2e.conftest import REPOSITORY, TODAY, YESTERDAY, RunningStack, started_stack, wait_for
from tests.e2e.diabetes import MEASURES, declare_diabetes, load_diabetes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="SKIPPED: there is no redis-server on PATH"),
]

# Every row of yesterday costs its shard what `source.pace` says, so that a worker can be killed in the middle.
SLOW = f"""SELECT patient, seen_at, {", ".join(MEASURES)}, progression
FROM source.diabetes, LATERAL (
    SELECT pg_sleep((SELECT seconds FROM source.pace)) FROM source.pace WHERE patient > 0
) AS pause
WHERE seen_at >= :period_start AND seen_at < :period_end"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("distributed")
    models = home / "models"
    # Of the samples this one alone: the other's schedule would begin to run, too.
    shutil.copytree(REPOSITORY / "include" / "models" / "flight_delay", models / "flight_delay")
    with started_stack(home, models, "--distributed") as stack:
        yield stack


def test_the_shards_of_one_partition_ran_on_both_workers_by_airflow_s_records(stack: RunningStack) -> None:
    run = re.search(r"run (manual__\S+)", stack.summary)
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
    started = stack.launcher.children(recursive=True)
    (worker,) = (process for process in started if title in titled(process))
    family = [worker, *worker.children(recursive=True)]
    for each in family:
        each.send_signal(signal.SIGSTOP)  # nobody notices the others' death
    for each in family:
        each.kill()
    return len(family)
