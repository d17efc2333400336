"""One launcher a home; secrets that others cannot read; settings that Airflow needs; a summary that can be pasted."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from deploy.local_stack.airflow_home import AirflowHome
from deploy.local_stack.database import database_processes
from deploy.local_stack.errors import LocalStackError, StoppedError
from deploy.local_stack.lock import launcher_lock, lock_file, stop_launcher
from deploy.local_stack.memory import MemoryMonitor
from deploy.local_stack.stack import Stack
from deploy.local_stack.summary import metric_table, psql_line
from include.records import Interval
from include.settings import REPOSITORY, Settings, child_environment

HOLDER = """
import signal, sys, time
from pathlib import Path
from deploy.local_stack.lock import launcher_lock
from deploy.local_stack.launch import Signals
signals = Signals()
with launcher_lock(Path(sys.argv[1])), signals.handled():
    print("held", flush=True)
    signals.stop.wait(60)
    time.sleep(0.3)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a home"


def hold(home: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_launcher_of_the_same_home_is_refused_and_told_who_runs(home: Path) -> None:
    with hold(home) as holder:
        second = subprocess.run(
            [sys.executable, "-m", "deploy.local_stack", "--once"],
            env=child_environment({"SLUICE_HOME": str(home)}),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode != 0
        assert f"is already running, started by process {holder.pid}" in second.stderr
        assert stop_launcher(home) == holder.pid
    assert holder.returncode == 0


def test_the_lock_of_a_killed_launcher_is_free(home: Path) -> None:
    with hold(home) as holder:
        holder.kill()
    assert lock_file(home).read_text() == f"{holder.pid}\n"
    assert stop_launcher(home) is None
    with launcher_lock(home):
        assert lock_file(home).read_text() == f"{os.getpid()}\n"


def test_within_one_process_too_there_is_one_launcher_a_home(home: Path) -> None:
    with launcher_lock(home), pytest.raises(LocalStackError, match="SLUICE_HOME"), launcher_lock(home):
        pass


def test_the_first_signal_stops_in_order_and_the_second_kills() -> None:
    from deploy.local_stack.launch import Signals

    signals, before = Signals(), signal.getsignal(signal.SIGINT)  # ignored, where a shell started us in the background
    with signals.handled():
        signal.raise_signal(signal.SIGINT)  # to this thread: another's would be handled after the wait
        assert signals.stop.wait(1)
        assert not signals.kill_now.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert signals.kill_now.wait(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_database_that_is_up_only_after_the_stop_is_stopped_too(home: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        Stack(Settings(home=home), stop).start_database(lambda _: None)
    assert database_processes(home) == []


def test_secrets_are_generated_once_kept_and_readable_by_their_owner_alone(home: Path) -> None:
    settings = Settings(home=home)
    made = AirflowHome.prepare(settings)
    assert AirflowHome.prepare(settings).secrets == made.secrets
    assert len(made.secrets.jwt_secret) >= 64
    for file in (home / "local" / "secrets.json", made.password_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    passwords = {"admin": made.secrets.password, "reviewer": made.secrets.reviewer_password}
    assert json.loads(made.password_file.read_text()) == passwords
    assert len(set(passwords.values())) == 2


def test_a_home_of_a_former_version_keeps_its_secrets_and_gets_those_that_it_lacks(home: Path) -> None:
    settings, file = Settings(home=home), home / "local" / "secrets.json"
    made = AirflowHome.prepare(settings).secrets
    former = {name: value for name, value in json.loads(file.read_text()).items() if name != "broker_password"}
    file.write_text(json.dumps(former))
    again = AirflowHome.prepare(settings).secrets
    assert {name: getattr(again, name) for name in former} == former
    assert again.broker_password not in ("", made.broker_password)
    assert AirflowHome.prepare(settings).secrets == again


def test_airflow_is_told_all_that_it_needs_and_nothing_of_another_airflow(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    settings = Settings(home=home, airflow_port=8181, airflow_url="http://127.0.0.1:8181", statsd_host="metrics")
    told = AirflowHome.prepare(settings).environment(
        settings,
        database_url="postgresql://sluice:secret@127.0.0.1:5/sluice",
        metadata_url="postgresql://sluice:secret@127.0.0.1:5/airflow",
    )
    assert told["AIRFLOW_HOME"] == str(home / "airflow")
    assert told["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert told["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8181/execution/"
    assert told["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert told["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://sluice:secret@127.0.0.1:5/airflow"
    assert told["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"].startswith("postgresql+asyncpg://sluice:secret@")
    assert told["AIRFLOW__METRICS__STATSD_HOST"] == "metrics"
    assert told["SLUICE_DATABASE_URL"] == "postgresql://sluice:secret@127.0.0.1:5/sluice"


def test_the_psql_line_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    program, url, option, query = shlex.split(psql_line("postgresql://sluice:s&cret@127.0.0.1:5/sluice", "iris"))
    assert program.endswith("psql")
    assert url == "postgresql://sluice:s&cret@127.0.0.1:5/sluice"
    assert option == "-c"
    assert "scores.iris" in query


def test_the_metric_table_has_the_baseline_beside_the_champion() -> None:
    ranges = {"roc_auc": Interval(low=0.72, high=0.74)}
    lines = list(metric_table({"roc_auc": 0.73, "log_loss": 0.55}, {"roc_auc": 0.71}, ranges))
    assert lines[1].split() == ["roc_auc", "0.7300", "0.7200", "to", "0.7400", "0.7100", "higher", "is", "better"]
    assert lines[2].split() == ["log_loss", "0.5500", "-", "-", "lower", "is", "better"]


def test_memory_of_all_processes_together_is_added_up_and_the_peak_kept() -> None:
    hungry = "x = bytearray(80 << 20); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        processes = [psutil.Process(), psutil.Process(child.pid)]
        monitor = MemoryMonitor(lambda: processes)
        both = monitor.sample()
        child.kill()
    assert both > 80 << 20
    alone = monitor.sample()
    assert alone < both == monitor.peak


def test_memory_is_measured_in_the_background() -> None:
    monitor = MemoryMonitor(lambda: [psutil.Process()])
    monitor.start()
    deadline = time.monotonic() + 5
    while not monitor.peak and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    monitor.stop()
    assert monitor.peak > 0
