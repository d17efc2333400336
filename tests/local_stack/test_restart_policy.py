"""A process that exits is restarted and reported; one that exits again and again is given up, with its last error."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local_stack import restart_policy
from deploy.local_stack import supervisor as supervisor_module
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.restart_policy import RestartPolicy
from deploy.local_stack.supervisor import ManagedProcess, Supervisor, session_register
from include.errors import DatabaseError
from include.processes import is_alive
from tests.local_stack.test_supervisor import born, environment, python

# A leader with a child that outlives it, as a scheduler's workers do: they hear of its death by nothing.
SCHEDULER = """
    import os, pathlib, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path("child.pid").write_text(str(child.pid))
    time.sleep(60)
"""


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor_module, "FIRST_STOP_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(supervisor_module, "STOP_TIMEOUT_SECONDS", 1.0)
    supervisor = Supervisor(session_register(tmp_path), tmp_path / "logs")
    yield supervisor
    supervisor.stop(threading.Event())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def policy(supervisor: Supervisor, clock: Clock) -> RestartPolicy:
    return RestartPolicy(supervisor, ProgressReporter(io.StringIO()), stable_seconds=60, clock=clock)


def said(policy: RestartPolicy) -> str:
    assert isinstance(policy.progress.stream, io.StringIO)
    return policy.progress.stream.getvalue()


def sleeper(supervisor: Supervisor, tmp_path: Path, name: str = "service") -> ManagedProcess:
    return supervisor.start(name, python("import time; time.sleep(60)"), environment(tmp_path), tmp_path)


def kill(supervisor: Supervisor, name: str) -> None:
    (managed,) = (each for each in supervisor._managed if each.name == name)
    managed.popen.kill()
    managed.popen.wait()


def test_a_killed_scheduler_comes_back_without_the_children_it_left_and_it_is_said_aloud(
    supervisor: Supervisor, policy: RestartPolicy, tmp_path: Path
) -> None:
    first = supervisor.start("scheduler", python(SCHEDULER), environment(tmp_path), tmp_path)
    (orphan,) = born(tmp_path, "child")
    policy.check()
    assert said(policy) == ""
    os.kill(first.popen.pid, signal.SIGKILL)
    first.popen.wait()
    assert is_alive(orphan)
    policy.check()
    assert not is_alive(orphan), "a second family would work beside the new one"
    assert supervisor.exited() == []
    assert [each.name for each in supervisor._managed] == ["scheduler"]
    assert supervisor._managed[0].popen.pid != first.popen.pid
    told = said(policy)
    assert (
        "EXITED     scheduler was killed by SIGKILL: a person killed it, or the system, because memory ran out" in told
    )
    assert f"(log: {first.log})" in told
    assert "RESTARTED  scheduler, restart 1 in a row; the tasks that it was running" in told


def test_who_exits_again_and_again_waits_longer_each_time_and_is_never_given_up(
    supervisor: Supervisor, policy: RestartPolicy, clock: Clock, tmp_path: Path
) -> None:
    broken = python("print('error: the port is made of cheese'); raise SystemExit(3)")
    supervisor.start("service", broken, environment(tmp_path), tmp_path)
    waited = []
    for _ in range(9):
        dead(supervisor)
        began = clock.now
        count = said(policy).count("RESTARTED")
        while said(policy).count("RESTARTED") == count:
            policy.check()
            clock.now += 0.5
        waited.append(round(clock.now - 0.5 - began))
    assert waited == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert "service exited with code 3; end of its log: error: the port is made of cheese" in said(policy)
    assert "WAITING    service exits again and again; it is restarted in 60 s" in said(policy)


def test_exits_far_apart_are_no_row(
    supervisor: Supervisor, policy: RestartPolicy, clock: Clock, tmp_path: Path
) -> None:
    sleeper(supervisor, tmp_path)
    for _ in range(5):
        kill(supervisor, "service")
        policy.check()
        clock.now += 61
    assert said(policy).count("RESTARTED  service, restart 1 in a row") == 5


def test_one_s_exits_do_not_count_for_another(supervisor: Supervisor, policy: RestartPolicy, tmp_path: Path) -> None:
    for name in ("service", "api-server"):
        sleeper(supervisor, tmp_path, name)
        kill(supervisor, name)
        policy.check()
    assert said(policy).count("restart 1 in a row") == 2


def test_the_database_is_started_again_before_who_needs_it(
    supervisor: Supervisor, policy: RestartPolicy, clock: Clock, tmp_path: Path
) -> None:
    broken = ["its disk is full", "its disk is full", ""]

    def start() -> bool:
        if broken[0]:
            raise DatabaseError(broken.pop(0))
        return True

    policy.start_database = start
    sleeper(supervisor, tmp_path)
    kill(supervisor, "service")
    policy.check()
    assert "EXITED     embedded PostgreSQL: it cannot be started: its disk is full" in said(policy)
    assert "RESTARTED" not in said(policy), "the service would exit again"
    policy.check()
    clock.now += 1
    policy.check()
    restarted = [line for line in said(policy).splitlines() if "RESTARTED" in line]
    assert ["PostgreSQL" in line for line in restarted] == [True, False]
    assert "RESTARTED  service" in said(policy)


def test_the_stack_is_looked_after_until_somebody_asks_to_stop(
    supervisor: Supervisor, policy: RestartPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart_policy, "POLL_SECONDS", 0.05)
    first = sleeper(supervisor, tmp_path)
    stop = threading.Event()
    outcome: list[object] = []
    keeping = threading.Thread(target=lambda: outcome.append(policy.supervise(stop)))
    keeping.start()
    first.popen.kill()
    deadline = time.monotonic() + 20
    while "RESTARTED" not in said(policy):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    keeping.join(10)
    assert outcome == [None]
    assert any(psutil.pid_exists(each.popen.pid) for each in supervisor._managed)


def dead(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 20
    while not supervisor.exited():
        assert time.monotonic() < deadline
        time.sleep(0.05)
