"""The whole stack as `make run` starts it: real scheduler, real service, real samples.

All tests of this folder share one. `.ci/run` has started it, and names the file of its output in ``E2E_STACK``, with
the home and the models' folder in the settings of the stack; without that, the tests start one of their own. What
needs another stack is in private/.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from deploy.local_stack.lock import lock_file
from include.settings import load_settings
from include.warehouse import open_engine
from tests.builders import SPEC, declare_model, load_parcels
from tests.dags.conftest import TINY_TABLE, write_model
from tests.e2e.diabetes import declare_diabetes, load_diabetes

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 900  # 75 s on a fast machine; this only ends a start that hangs
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = TODAY - timedelta(days=1)
TINY_UNTIL = datetime(2026, 3, 1, 5, tzinfo=UTC)  # the end of the rows of the tiny table
IS_UP = "stays up until Ctrl-C"


@dataclass
class RunningStack:
    """A started stack, with clients of its parts."""

    launcher: psutil.Process
    home: Path
    models: Path
    summary: str
    database_url: str
    airflow: httpx.Client
    people: dict[str, httpx.Client]
    service: httpx.Client

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def call(self, method: str, path: str, client: httpx.Client | None = None, **arguments: Any) -> dict[str, Any]:
        answer = (client or self.airflow).request(method, f"/api/v2{path}", **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100})["dags"]}

    def trigger(self, dag_id: str, as_of: datetime | None = None, **conf: Any) -> str:
        body = {"logical_date": as_of and as_of.isoformat(), "conf": conf}
        return self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]

    def finished(self, dag_id: str, run_id: str, seconds: float = 180) -> str:
        def state() -> str | None:
            found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return found if found in ("success", "failed") else None

        return wait_for(state, seconds, f"{dag_id} {run_id} to end")

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        return self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")


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
    """The shared stack of these tests. The one who started it stops it."""
    output = os.environ.get("E2E_STACK")
    if output is None:
        home = tmp_path_factory.mktemp("a home")
        models = home / "models"
        shutil.copytree(REPOSITORY / "include" / "models", models)
        with started_stack(home, models) as stack:
            yield stack
        return
    settings = load_settings()
    with connected(settings.home.resolve(), settings.models_dir.resolve(), Path(output).read_text()) as stack:
        yield stack


@dataclass(frozen=True)
class Declared:
    """Three models that are declared while the stack runs; the retraining of two was started."""

    diabetes_run: str
    apple_run: str


@pytest.fixture(scope="session")
def declared(stack: RunningStack) -> Declared:
    """Declare all models of these tests at once, so that they wait for Airflow only once."""
    load_diabetes(stack.database_url, until=TODAY)
    declare_diabetes(stack.models)
    with psycopg.connect(stack.database_url) as connection:
        connection.execute(TINY_TABLE.format(name="apple"))
    declare_approved(stack.models, "apple", "timedelta(days=1)")
    engine = open_engine(stack.database_url)
    load_parcels(engine)
    engine.dispose()
    declare_model(stack.models, spec=SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * *"'))
    wanted = {"retrain_diabetes", "score_diabetes", "retrain_apple", "score_parcels"}
    wait_for(lambda: wanted <= stack.dag_ids(), 180, "the DAGs of the new models")
    return Declared(stack.trigger("retrain_diabetes"), stack.trigger("retrain_apple", as_of=TINY_UNTIL))


def declare_approved(models: Path, name: str, timeout: str) -> None:
    """Declare a tiny model whose versions are promoted only if another person approves them within `timeout`."""
    spec = write_model(models, name) / "spec.py"
    text = spec.read_text()
    for old, new in (
        (
            '    retrain_schedule="0 3 * * *",',
            f"    retrain_schedule=None,\n    approval=ApprovalPolicy(timeout={timeout}),",
        ),
        ('    score_schedule="0 0 * * *",', "    score_schedule=None,"),
    ):
        assert old in text
        text = text.replace(old, new)
    spec.write_text(text)


@contextmanager
def started_stack(home: Path, models: Path, *arguments: str) -> Iterator[RunningStack]:
    """Start a separate stack; stop it by Ctrl-C, after which no process may be left."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SLUICE_"))}
    env |= {"SLUICE_HOME": str(home), "SLUICE_MODELS_DIR": str(models)}
    output = home / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local_stack", *arguments], cwd=REPOSITORY, env=env, stdout=file
        )
    try:
        wait_for(lambda: IS_UP in output.read_text() or process.poll() is not None, START_SECONDS, "the stack")
        assert process.poll() is None, output.read_text()
        with connected(home, models, output.read_text()) as stack:
            yield stack
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        assert "no process is left" in output.read_text(), output.read_text()


@contextmanager
def connected(home: Path, models: Path, summary: str) -> Iterator[RunningStack]:
    """Connect to a running stack with the addresses of its summary."""
    address = found(r"Airflow +(http://\S+)", summary)
    with ExitStack() as clients:
        people = {
            name: clients.enter_context(logged_in(address, name, password))
            for name, password in re.findall(r"user (\w+), password (\S+)", summary)
        }
        yield RunningStack(
            launcher=psutil.Process(int(lock_file(home).read_text())),
            home=home,
            models=models,
            summary=summary,
            database_url=found(r"(postgresql://\S+)", summary),
            airflow=people["admin"],
            people=people,
            service=clients.enter_context(httpx.Client(base_url=found(r"Service +(http://\S+)", summary), timeout=10)),
        )


def logged_in(address: str, name: str, password: str) -> httpx.Client:
    answer = httpx.post(f"{address}/auth/token", json={"username": name, "password": password}, trust_env=False)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False)


def found(pattern: str, summary: str) -> str:
    match = re.search(pattern, summary)
    assert match, f"{pattern} is not in the summary:\n{summary}"
    return match[1]
