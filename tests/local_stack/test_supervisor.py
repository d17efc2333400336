"""Every process that is started is stopped, with all descendants, also those that ignore signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local_stack import supervisor as supervisor_module
from deploy.local_stack.errors import LocalStackError, StoppedError
from deploy.local_stack.supervisor import (
    STACK_VARIABLE,
    Supervisor,
    exit_error,
    orphans_of,
    session_register,
    stop_orphans,
)
from include.processes import is_alive
from include.settings import child_environment

# A leader with a child and a grandchild in a session of its own; all but the leader ignore what asks them to end.
FAMILY = """
import os, pathlib, signal, subprocess, sys, time
role, folder = sys.argv[1], pathlib.Path(sys.argv[2])
if role != "leader":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
following = {"leader": "child", "child": "grandchild"}.get(role)
if following:
    subprocess.Popen([sys.executable, __file__, following, str(folder)], start_new_session=following == "grandchild")
(folder / f"{role}.pid").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a home with spaces"


@pytest.fixture
def supervisor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor_module, "FIRST_STOP_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(supervisor_module, "STOP_TIMEOUT_SECONDS", 1.0)
    home.mkdir()
    supervisor = Supervisor(session_register(home), home / "logs")
    yield supervisor
    supervisor.stop(threading.Event())


@pytest.fixture
def family(tmp_path: Path) -> Callable[[], list[str]]:
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    return lambda: [sys.executable, str(script), "leader", str(tmp_path)]


def environment(home: Path) -> dict[str, str]:
    return child_environment({STACK_VARIABLE: str(home)})


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def born(folder: Path, *roles: str) -> list[psutil.Process]:
    deadline = time.monotonic() + 10
    while not all((folder / f"{role}.pid").exists() for role in roles):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.1)
    return [psutil.Process(int((folder / f"{role}.pid").read_text())) for role in roles]


def test_stopping_ends_children_and_grandchildren_that_ignore_every_request(
    supervisor: Supervisor, home: Path, tmp_path: Path, family: Callable[[], list[str]]
) -> None:
    supervisor.start("family", family(), environment(home), tmp_path)
    members = born(tmp_path, "leader", "child", "grandchild")
    assert supervisor.stop(threading.Event()) == []
    assert not any(is_alive(each) for each in members)
    assert not session_register(home).file.exists()


def test_a_process_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(
    supervisor: Supervisor, home: Path, tmp_path: Path
) -> None:
    managed = supervisor.start("sleeper", python("import time; time.sleep(60)"), environment(home), tmp_path)
    assert os.getsid(managed.popen.pid) == managed.popen.pid != os.getsid(0)


def test_those_named_first_end_while_the_others_still_run(supervisor: Supervisor, home: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    server = supervisor.start("server", python("import time; time.sleep(60)"), environment(home), tmp_path)
    supervisor.start(
        "worker",
        python(f"""
            import os, pathlib, signal, sys, time
            def end(*_):
                pathlib.Path({str(said)!r}).write_text(str(os.path.exists("/proc/{server.popen.pid}")))
                sys.exit()
            signal.signal(signal.SIGTERM, end)
            pathlib.Path({str(tmp_path / "worker.pid")!r}).write_text(str(os.getpid()))
            time.sleep(60)
        """),
        environment(home),
        tmp_path,
    )
    born(tmp_path, "worker")
    supervisor.stop(threading.Event(), first=("worker",))
    assert said.read_text() == "True"


def test_when_asked_to_kill_now_nobody_gets_time_to_end(
    supervisor: Supervisor, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_STOP_TIMEOUT_SECONDS", "STOP_TIMEOUT_SECONDS"):
        monkeypatch.setattr(supervisor_module, name, 3600.0)
    deaf = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    ready = tmp_path / "deaf.pid"
    code = f"{deaf} import os; pathlib.Path({str(ready)!r}).write_text(str(os.getpid())); time.sleep(60)"
    supervisor.start("deaf", python(code), environment(home), tmp_path)
    born(tmp_path, "deaf")
    kill_now = threading.Event()
    kill_now.set()
    survivors: list[list[psutil.Process]] = []
    stopping = threading.Thread(target=lambda: survivors.append(supervisor.stop(kill_now)), daemon=True)
    stopping.start()
    stopping.join(60)
    assert survivors == [[]], "with the timeouts it would take an hour"


def test_a_command_that_fails_tells_its_name_its_code_its_last_error_and_its_log(
    supervisor: Supervisor, home: Path, tmp_path: Path
) -> None:
    failing = python("print('all fine so far'); raise ValueError('the disk is made of cheese')")
    with pytest.raises(LocalStackError) as caught:
        supervisor.run("migrate", failing, environment(home), tmp_path, threading.Event())
    assert "migrate exited with code 1" in caught.value.reason
    assert "the disk is made of cheese" in caught.value.reason
    assert caught.value.log == home / "logs" / "migrate.log"


def test_a_long_running_process_that_exits_is_noticed_and_can_be_started_again(
    supervisor: Supervisor, home: Path, tmp_path: Path
) -> None:
    managed = supervisor.start("server", python("import time; time.sleep(60)"), environment(home), tmp_path)
    assert supervisor.exited() == []
    managed.popen.kill()
    managed.popen.wait()
    assert supervisor.exited() == [managed]
    assert "was killed by SIGKILL" in exit_error(managed).reason
    again = supervisor.restart(managed)
    assert supervisor.exited() == []
    assert again.popen.pid != managed.popen.pid


def test_nothing_is_started_any_more_once_stopping_began(supervisor: Supervisor, home: Path, tmp_path: Path) -> None:
    supervisor.stop(threading.Event())
    with pytest.raises(StoppedError):
        supervisor.start("late", python("pass"), environment(home), tmp_path)


def test_what_a_killed_launcher_left_is_found_by_the_next_and_stopped(
    home: Path, tmp_path: Path, family: Callable[[], list[str]]
) -> None:
    home.mkdir()
    launcher = subprocess.Popen(
        python(f"""
            import time
            from pathlib import Path
            from deploy.local_stack.supervisor import STACK_VARIABLE, Supervisor, session_register
            from include.settings import child_environment
            home = Path({str(home)!r})
            supervisor = Supervisor(session_register(home), home / "logs")
            supervisor.start("family", {family()!r}, child_environment({{STACK_VARIABLE: str(home)}}), home)
            time.sleep(60)
        """)
    )
    members = born(tmp_path, "leader", "child", "grandchild")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert {each.pid for each in orphans_of(home)} == {each.pid for each in members}
    assert orphans_of(home.parent / "another home") == []
    assert stop_orphans(home, timeout=0.3) == 3
    assert not any(is_alive(each) for each in members)


def test_a_process_of_ours_that_lost_its_environment_is_known_by_its_session(
    supervisor: Supervisor, home: Path, tmp_path: Path
) -> None:
    managed = supervisor.start("server", python("import time; time.sleep(60)"), child_environment({}), tmp_path)
    assert [each.pid for each in orphans_of(home)] == [managed.popen.pid]
