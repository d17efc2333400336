"""kill -9 of a task, of the scheduler with all that it runs, and of a worker of the service, while all is at work.

Again and again at random moments: private/test_kills.py for the scheduler, tests/chaos for what publishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import httpx
import psutil
import psycopg
import pytest

from deploy.local_stack.airflow_home import COMMANDS
from include.processes import is_alive
from tests.e2e.conftest import YESTERDAY, RunningStack, wait_for

pytestmark = pytest.mark.slow

DAG_ID = "score_flight_delay"
DAY_BEFORE = YESTERDAY - timedelta(days=1)


def test_a_killed_task_and_a_killed_scheduler_leave_the_former_rows_and_each_partition_is_published_once(
    stack: RunningStack,
) -> None:
    before = {day: published(stack, day) for day in (YESTERDAY, DAY_BEFORE)}
    with held_back(stack, YESTERDAY), held_back(stack, DAY_BEFORE):
        runs = {day: stack.trigger(DAG_ID, partition=f"{day:%Y-%m-%d}") for day in before}
        tasks = {day: wait_for(lambda day=day: publishing(stack, day), 300, "the task to publish") for day in before}
        tasks[YESTERDAY].kill()
        wait_for(lambda: stack.task(DAG_ID, runs[YESTERDAY], "publish")["state"] == "up_for_retry", 120, "a retry")
        kill_scheduler(stack)
        wait_for(lambda: not is_alive(tasks[DAY_BEFORE]), 60, "the task to die with the scheduler", every=0.1)
        assert {day: published(stack, day) for day in before} == before, "readers see the former rows, whole"
    for day, run in runs.items():
        assert stack.finished(DAG_ID, run, seconds=300) == "success"
        fences = stack.sql(
            "SELECT sequence, row_count FROM sluice.partition_publication"
            " WHERE model = 'flight_delay' AND partition_start = %s"
            " AND run_id = %s",
            day,
            run,
        )
        sequence, rows, _, scored_at = before[day]
        assert fences == [(sequence + 1, rows)]
        after = published(stack, day)
        assert after[:3] == (sequence + 1, rows, 1)
        assert after[3] > scored_at
    assert stack.task(DAG_ID, runs[YESTERDAY], "publish")["try_number"] == 2
    told = (stack.home / "logs" / "launcher.log").read_text()
    assert "EXITED     scheduler was killed by SIGKILL" in told
    assert "RESTARTED  scheduler, restart 1 in a row" in told


def test_a_killed_worker_of_the_service_is_replaced_and_the_others_answer(stack: RunningStack) -> None:
    service = part_of(stack, "model_service")
    workers = service.children()
    assert len(workers) > 1
    workers[0].kill()

    def replaced() -> bool:
        now = {each.pid for each in service.children() if is_alive(each)}
        return len(now) == len(workers) and workers[0].pid not in now

    wait_for(replaced, 60, "another worker", every=0.1)
    assert workers[1].is_running()
    for _ in range(50):  # a connection each, so that all workers are asked
        answer = httpx.get(f"{stack.service.base_url}".rstrip("/") + "/v1/models/iris", timeout=10, trust_env=False)
        assert answer.status_code == 200
    assert "EXITED     service" not in (stack.home / "logs" / "launcher.log").read_text()


def published(stack: RunningStack, day: datetime) -> tuple[int, int, int, datetime]:
    """Return sequence, rows, and how many different moments of scoring they have, with the last of these."""
    ((rows, moments, last),) = stack.sql(
        "SELECT count(*), count(DISTINCT scored_at), max(scored_at) FROM scores.flight_delay"
        " WHERE partition_start = %s",
        day,
    )
    ((sequence, told),) = stack.sql(
        "SELECT sequence, row_count FROM sluice.published_partition"
        " WHERE model = 'flight_delay' AND partition_start = %s",
        day,
    )
    assert rows == told
    return sequence, rows, moments, last


@contextmanager
def held_back(stack: RunningStack, day: datetime) -> Iterator[None]:
    """Let nobody change a partition's rows meanwhile: it stops a task in the middle of its publication."""
    with psycopg.connect(stack.database_url) as gate:
        gate.execute(f"LOCK TABLE {table(day)} IN SHARE MODE")
        yield


def table(day: datetime) -> str:
    return f'scores."flight_delay_p{day:%Y%m%d_%H%M}"'


def publishing(stack: RunningStack, day: datetime) -> psutil.Process | None:
    """Return the task's process that waits for the partition, when one does."""
    waiting = stack.sql(
        "SELECT client_port FROM pg_stat_activity JOIN pg_locks USING (pid)"
        " WHERE NOT granted AND relation = %s::regclass AND client_port IS NOT NULL",
        table(day),
    )
    return psutil.Process(process_of(waiting[0][0])) if waiting else None


def process_of(port: int) -> int:
    return next(
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.raddr and connection.pid
    )


def part_of(stack: RunningStack, word: str) -> psutil.Process:
    """Return the process that the launcher started whose command line, or title, has that word."""
    (part,) = (each for each in stack.launcher.children() if word in " ".join(each.cmdline()))
    return part


def kill_scheduler(stack: RunningStack) -> None:
    """Kill -9 the scheduler with all that it started, at once."""
    scheduler = part_of(stack, COMMANDS["scheduler"][0])
    family = [scheduler, *scheduler.children(recursive=True)]
    for each in family:
        each.suspend()  # nobody notices the others' death
    for each in family:
        each.kill()
