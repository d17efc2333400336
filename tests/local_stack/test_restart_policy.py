"""What dies is started again and told of; who dies again and again is given up, with what it last said."""

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

from deploy.local_stack import restart_policy, supervisor
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.restart_policy import MOST_IN_A_ROW, RestartPolicy
from deploy.local_stack.supervisor import Managed, Supervisor, register_of
from include.processes.termination import lives
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
    monkeypatch.setattr(processes, "EARLY_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 1.0)
    supervisor = Supervisor(register_of(tmp_path), tmp_path / "logs")
    yield supervisor
    supervisor.stop(threading.Event())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(supervisor: Supervisor, clock: Clock) -> RestartPolicy:
    return RestartPolicy(supervisor, ProgressReporter(io.StringIO()), stable_seconds=60, clock=clock)


def said(keeper: RestartPolicy) -> str:
    assert isinstance(keeper.progress.stream, io.StringIO)
    return keeper.progress.stream.getvalue()


def sleeper(supervisor: Supervisor, tmp_path: Path, name: str = "service") -> Managed:
    return supervisor.start(name, python("import time; time.sleep(60)"), environment(tmp_path), tmp_path)


def kill(supervisor: Supervisor, name: str) -> None:
    (managed,) = (each for each in supervisor._managed if each.name == name)
    managed.popen.kill()
    managed.popen.wait()


def test_a_killed_scheduler_comes_back_without_the_children_it_left_and_it_is_said_aloud(
    supervisor: Supervisor, keeper: RestartPolicy, tmp_path: Path
) -> None:
    first = supervisor.start("scheduler", python(SCHEDULER), environment(tmp_path), tmp_path)
    (orphan,) = born(tmp_path, "child")
    assert keeper.look() is None
    assert said(keeper) == ""
    os.kill(first.popen.pid, signal.SIGKILL)
    first.popen.wait()
    assert lives(orphan)
    assert keeper.look() is None
    assert not lives(orphan), "a second family would work beside the new one"
    assert supervisor.dead() == []
    assert [each.name for each in supervisor._managed] == ["scheduler"]
    assert supervisor._managed[0].popen.pid != first.popen.pid
    told = said(keeper)
    assert "DIED    scheduler was killed by SIGKILL, by somebody, or by the system for want of memory" in told
    assert f"(log: {first.log})" in told
    assert "AGAIN   scheduler was started again, 1 of 3 times in a row; the tasks that it ran" in told


def test_who_dies_again_and_again_is_given_up_with_reason_log_and_advice(
    supervisor: Supervisor, keeper: RestartPolicy, clock: Clock, tmp_path: Path
) -> None:
    broken = python("print('error: the port is made of cheese'); raise SystemExit(3)")
    managed = supervisor.start("service", broken, environment(tmp_path), tmp_path)
    for _ in range(MOST_IN_A_ROW):
        dead(supervisor)
        assert keeper.look() is None
        clock.now += 59
    dead(supervisor)
    failure = keeper.look()
    assert failure is not None
    assert failure.title == "service"
    assert "service ended with exit code 3; it last said: error: the port is made of cheese" in failure.reason
    assert "started again 3 times in a row, and did not last 60 s" in failure.reason
    assert failure.log == managed.log
    assert said(keeper).count("AGAIN") == MOST_IN_A_ROW


def test_deaths_far_apart_are_no_row(
    supervisor: Supervisor, keeper: RestartPolicy, clock: Clock, tmp_path: Path
) -> None:
    sleeper(supervisor, tmp_path)
    for _ in range(2 * MOST_IN_A_ROW):
        kill(supervisor, "service")
        assert keeper.look() is None
        clock.now += 61
    assert said(keeper).count("1 of 3 times in a row") == 2 * MOST_IN_A_ROW


def test_one_s_deaths_do_not_count_for_another(supervisor: Supervisor, keeper: RestartPolicy, tmp_path: Path) -> None:
    names = ("service", "api-server")
    for name in names:
        sleeper(supervisor, tmp_path, name)
    for _ in range(MOST_IN_A_ROW):
        for name in names:
            kill(supervisor, name)
        assert keeper.look() is None
    kill(supervisor, "service")
    failure = keeper.look()
    assert failure is not None
    assert failure.title == "service"


def test_the_stack_is_looked_after_until_somebody_asks_to_stop(
    supervisor: Supervisor, keeper: RestartPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "LOOK_EVERY", 0.05)
    first = sleeper(supervisor, tmp_path)
    stop = threading.Event()
    outcome: list[object] = []
    keeping = threading.Thread(target=lambda: outcome.append(keeper.supervise(stop)))
    keeping.start()
    first.popen.kill()
    deadline = time.monotonic() + 20
    while "AGAIN" not in said(keeper):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    keeping.join(10)
    assert outcome == [None]
    assert any(psutil.pid_exists(each.popen.pid) for each in supervisor._managed)


def dead(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 20
    while not supervisor.dead():
        assert time.monotonic() < deadline
        time.sleep(0.05)
