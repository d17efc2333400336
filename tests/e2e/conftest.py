"""The whole stack as `make run` starts it, with a home of its own: real scheduler, real service, real samples."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 900  # 75 s on a good day; this only ends what hangs


@dataclass
class RunningStack:
    """A started stack, and how it is spoken to."""

    process: subprocess.Popen[str]
    home: Path
    models: Path
    database_url: str
    airflow: httpx.Client
    service: httpx.Client

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        answer = self.airflow.request(method, f"/api/v2{path}", **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100})["dags"]}

    def trigger(self, dag_id: str, **conf: Any) -> str:
        return self.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]

    def finished(self, dag_id: str, run_id: str, seconds: float = 180) -> str:
        def state() -> str | None:
            found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return found if found in ("success", "failed") else None

        return wait_for(state, seconds, f"{dag_id} {run_id} to end")


def wait_for(look: Callable[[], Any], seconds: float, what: str, every: float = 0.5) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Started once for all tests of this folder; stopped by Ctrl-C, after which no process may be left."""
    home = tmp_path_factory.mktemp("a home")
    models = home / "models"
    shutil.copytree(REPOSITORY / "include" / "models", models)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SLUICE_"))}
    env |= {"SLUICE_HOME": str(home), "SLUICE_MODELS_DIR": str(models)}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local_stack"], cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        stack = connected(process, home, models, read_until_up(process))
        with stack.airflow, stack.service:
            yield stack
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=90)
        assert "no process is left" in rest, rest


def read_until_up(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said: list[str] = []
    deadline = time.monotonic() + START_SECONDS
    for line in process.stdout:
        said.append(line)
        if "stays up until Ctrl-C" in line:
            return "".join(said)
        assert time.monotonic() < deadline, "".join(said)
    raise AssertionError("the stack did not come up:\n" + "".join(said))


def connected(process: subprocess.Popen[str], home: Path, models: Path, summary: str) -> RunningStack:
    def found(pattern: str) -> str:
        match = re.search(pattern, summary)
        assert match, f"{pattern} is not in the summary:\n{summary}"
        return match[1]

    address = found(r"Airflow +(http://\S+)")
    credentials = {"username": found(r"user (\w+),"), "password": found(r"password (\S+)")}
    token = httpx.post(f"{address}/auth/token", json=credentials).json()["access_token"]
    return RunningStack(
        process=process,
        home=home,
        models=models,
        database_url=found(r"(postgresql://\S+)"),
        airflow=httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30),
        service=httpx.Client(base_url=found(r"Service +(http://\S+)"), timeout=10),
    )
