"""A real PostgreSQL for every test: one server per session, one database per test, cloned from a migrated template."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import hypothesis
import psycopg
import pytest
from psycopg import pq
from sqlalchemy import Engine

from include import evidence
from include.resources import Resources, open_resources
from include.settings import Settings
from include.validation import run as validation_run
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded

TEMPLATE = "sluice_template"

# Files that run Airflow, train, rehearse or start services: each test takes many seconds. If one of them ran last, one
# of the two processes would be idle meanwhile.
LONGEST_FIRST = (
    "dags/test_runs.py",
    "model_service/test_openapi.py",
    "rehearsal/test_rehearsal.py",
    "model_service/test_process.py",
    "model_service/test_observability.py",
    "model_service/test_limits.py",
    "model_service/test_jobs.py",
    "model_service/test_job_quotas.py",
    "model_service/test_database_down.py",
    "scoring/test_shadow_requests.py",
    "scoring/test_shadow.py",
    "cli/test_approve.py",
    "cli/test_commands.py",
    "cli/test_migrate.py",
    "onboarding/test_from_table.py",
    "audit/test_audit.py",
    "audit/test_scorecard.py",
    "repo/test_compose_roles.py",
    "test_backfill.py",
    "test_pipeline.py",
    "dags/test_structure.py",
)

# Machines are noisy: no property test may depend on time.
hypothesis.settings.register_profile("sluice", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("sluice")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first; the others stay in their order."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a separate server for the tests, with a migrated template database."""
    home = tmp_path_factory.mktemp("server")
    url = start_embedded(home, durable=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(_with_database(url, TEMPLATE))
    yield url
    stop_embedded(home)


class _InBackground:
    """Statements that the server runs while the test goes on: one at a time, and without a thread in this process."""

    def __init__(self, url: str) -> None:
        self._connection = pq.PGconn.connect(url.encode())

    def start(self, statement: str) -> None:
        self.wait()
        self._connection.send_query(statement.encode())

    def wait(self) -> None:
        while (result := self._connection.get_result()) is not None:
            assert result.status == pq.ExecStatus.COMMAND_OK, result.get_error_message()


class _Databases:
    """Migrated databases: the next one is made while a test has the one before."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._creation, self._removal = _InBackground(server_url), _InBackground(server_url)
        self._create()

    def new(self) -> str:
        """Return the URL of a fresh one."""
        self._creation.wait()
        url = _with_database(self._server_url, self._name)
        self._create()
        return url

    def drop(self, url: str) -> None:
        self._removal.start(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def wait(self) -> None:
        """Wait until nothing is created or dropped any more."""
        self._creation.wait()
        self._removal.wait()

    def _create(self) -> None:
        self._name = f"test_{uuid.uuid4().hex[:12]}"
        # Copying files takes a third less time than writing them through the log, which is the default.
        self._creation.start(f"CREATE DATABASE {self._name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[_Databases]:
    databases = _Databases(server_url)
    yield databases
    databases.wait()


@pytest.fixture(scope="session")
def new_database(databases: _Databases) -> Callable[[], str]:
    """Creates a fresh migrated database and returns its URL; for fixtures with a wider scope than a test."""
    return databases.new


@pytest.fixture
def database_url(databases: _Databases) -> Iterator[str]:
    """URL of a fresh migrated database, dropped after the test."""
    url = databases.new()
    yield url
    databases.drop(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the fresh database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings with a separate home, on the fresh database."""
    return Settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    """The resources of the steps, on the fresh database."""
    with open_resources(settings) as resources:
        yield resources


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _cards_without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in the tests' own process draw no plots: half a second each, and few tests look at them.

    The tests of plots call `draw` themselves, and those of the command line and the stack train in other processes.
    """
    monkeypatch.setattr(evidence, "draw", lambda _card, _task: {})


@pytest.fixture(autouse=True)
def _few_expectations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations repeats fewer of the counts in SQL: each takes 20 ms. Those of tests/validation repeat all."""
    monkeypatch.setattr(validation_run, "MAX_EXPECTATIONS", 6)


def _with_database(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + "/" + name


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a separate S3 server for the tests."""
    program = Path(__file__).with_name("s3_server.py")
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.terminate()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, with the environment variables that give access to it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    url = f"s3://bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(url)
    return url
