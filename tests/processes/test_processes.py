"""A child of a killed parent ends, a log's end is told by its errors, and a register survives whoever wrote it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from include.processes import SessionRegister, log_tail, memory_in_use, start_process, terminate
from include.settings import child_environment

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = f"""
import os, sys, time
from pathlib import Path
from include.processes import start_process
folder = Path(sys.argv[1])
child = start_process({SLEEP!r}, environment=os.environ, cwd=folder, log=folder / "log", end_with_parent=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="SKIPPED: only Linux stops the child of a killed parent")
def test_a_child_that_shall_end_with_its_parent_ends_when_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=20)
    assert alive == []


def test_a_child_leads_its_own_session_and_what_it_prints_is_appended_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    code = "import os, sys; print(os.getsid(0) == os.getpid(), flush=True); print('error', file=sys.stderr)"
    for _ in range(2):
        command = [sys.executable, "-c", code]
        assert start_process(command, environment=child_environment({}), cwd=tmp_path, log=log).wait(20) == 0
    assert log.read_text() == "True\nerror\n" * 2


def test_terminating_at_once_needs_no_timeout(tmp_path: Path) -> None:
    child = start_process(SLEEP, environment=child_environment({}), cwd=tmp_path, log=tmp_path / "log")
    kill_now = threading.Event()
    kill_now.set()
    assert terminate([psutil.Process(child.pid)], 60, kill_now) == []
    assert child.wait(5) in (-signal.SIGKILL, -signal.SIGTERM)


def test_the_end_of_a_log_is_its_last_lines_or_those_with_errors(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == "(nothing)"
    log.write_text("first\nValueError: no\n\nsecond\nthird\n")
    assert log_tail(log, 2) == "second / third"
    assert log_tail(log, 2, prefer_errors=True) == "ValueError: no"
    log.write_text("first\nsecond\n")
    assert log_tail(log, 1, prefer_errors=True) == "second"


def test_a_register_knows_each_session_by_the_time_of_its_start(tmp_path: Path) -> None:
    register = SessionRegister(tmp_path / "local" / "sessions.json")
    assert register.read() == {}
    register.write([os.getpid(), 2**22 + 1])  # there is no process with so high a number
    assert register.read() == {os.getpid(): psutil.Process().create_time()}
    register.clear()
    assert register.read() == {}


def test_memory_is_measured_in_bytes_and_the_measure_named() -> None:
    size, measure = memory_in_use(psutil.Process())
    assert size > 1 << 20
    assert measure == ("PSS" if sys.platform == "linux" else "USS")
