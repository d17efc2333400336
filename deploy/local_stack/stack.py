"""The parts of the local stack: the embedded PostgreSQL, the schemas, the samples, Airflow, the service."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, make_url, text

from deploy.local_stack.airflow_api import AirflowApi
from deploy.local_stack.airflow_home import ADMIN, COMMANDS, WORKERS, AirflowHome, airflow_command, stack_environment
from deploy.local_stack.database import database_processes, stop_database
from deploy.local_stack.errors import LocalStackError, StoppedError
from deploy.local_stack.logs import forward_log_records
from deploy.local_stack.polling import poll_until
from deploy.local_stack.steps import Note, StepResult
from deploy.local_stack.supervisor import Supervisor, exit_error, session_register
from include.settings import DATABASE_POOL, POOL_NOTE, Settings
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded
from include.watching import WATCHER, end_heartbeat, read_heartbeats

# These must be healthy before a DAG can run. The triggerer is started later, while DAGs run.
STARTED_FIRST = ("api-server", "dag-processor", "scheduler")
# A task that ends reports it to the API server, and waits long for one that is gone.
STOPPED_FIRST = ("scheduler", "triggerer", *WORKERS)
AIRFLOW_TIMEOUT_SECONDS = 240.0
SERVICE_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Stack:
    """Starts and stops the parts of the stack. Each method that takes a `note` is the work of one step.

    Parameters
    ----------
    settings : Settings
        With ports that are free, and an absolute `home`.
    stop : Event
        Set to stop the stack.
    """

    settings: Settings
    stop: threading.Event
    supervisor: Supervisor = field(init=False)
    airflow: AirflowHome = field(init=False)
    api: AirflowApi = field(init=False)
    database_url: str = field(init=False, default="")
    metadata_url: str = field(init=False, default="")
    engine: Engine | None = field(init=False, default=None)
    airflow_options: Mapping[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        home = self.settings.home
        self.supervisor = Supervisor(session_register(home), self.settings.log_dir)
        self.airflow = AirflowHome.prepare(self.settings)
        self.api = AirflowApi(self.airflow_address, ADMIN, self.airflow.secrets.password)

    @property
    def airflow_address(self) -> str:
        """The URL of Airflow."""
        return f"http://127.0.0.1:{self.settings.airflow_port}"

    @property
    def service_address(self) -> str:
        """The URL of the service on this machine, whatever address it listens on."""
        host = self.settings.service_host
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.settings.service_port}"  # noqa: S104

    @property
    def warehouse(self) -> Engine:
        """The engine on Sluice's database, after the step that starts it."""
        if self.engine is None:
            self.engine = open_engine(self.database_url)
        return self.engine

    # -- the database -----------------------------------------------------------------------------

    def start_database(self, note: Note) -> StepResult:
        """Start the embedded server. It has Airflow's tables even if Sluice's own are in another database."""
        note("starting the embedded server")
        began = time.monotonic()
        url = start_embedded(self.settings.home)
        if self.stop.is_set():  # everything else may be stopped already, and nobody would stop the server
            stop_embedded(self.settings.home)
            raise StoppedError
        self.database_url = self.settings.database_url or url
        self.metadata_url = url.rsplit("/", 1)[0] + "/airflow"
        engine = open_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            if not connection.execute(text("SELECT 1 FROM pg_database WHERE datname = 'airflow'")).scalar():
                connection.execute(text("CREATE DATABASE airflow"))
        engine.dispose()
        address = make_url(url)
        other = "; Sluice's own tables are in SLUICE_DATABASE_URL" if self.settings.database_url else ""
        return StepResult(f"listens on 127.0.0.1:{address.port} after {time.monotonic() - began:.1f} s{other}")

    def revive_database(self) -> bool:
        """Start the embedded server again if it is gone, on the port of before; return whether it was.

        Raises
        ------
        DatabaseError
            When it cannot be started.
        """
        if database_processes(self.settings.home) or self.stop.is_set():
            return False
        start_embedded(self.settings.home)
        return True

    def migrate_schema(self, note: Note) -> StepResult:
        """Migrate Sluice's own schemas to the newest version."""
        note("running migrations")
        migrate(self.database_url)
        return StepResult("schemas source, scores and sluice are up to date")

    def load_samples(self, note: Note) -> StepResult:
        """Load the samples' source tables, unless they are loaded already."""
        # This imports pandas and pyarrow; only this step needs them.
        from include.warehouse.samples import load_samples

        before = self._source_files()
        with forward_log_records("include.warehouse.samples", note):
            loaded = load_samples(self.warehouse, dates=self.settings.sample_dates, today=datetime.now(UTC).date())
        rows = ", ".join(f"{table} {count:,}" for table, count in loaded.items())
        return StepResult(f"rows: {rows}", skipped=bool(before) and before == self._source_files())

    def _source_files(self) -> dict[str, str]:
        """Return the file on disk of each source table, which changes when the table is written again."""
        query = (
            "SELECT relname, relfilenode FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE nspname = 'source' AND relkind IN ('r', 'p')"
        )
        with self.warehouse.connect() as connection:
            return {str(name): str(node) for name, node in connection.execute(text(query))}

    # -- Airflow ----------------------------------------------------------------------------------

    def migrate_airflow(self, note: Note) -> StepResult:
        """Create or migrate Airflow's own tables, unless this version of Airflow did it before: it takes 8 s."""
        record = self.settings.home / "local" / "airflow-migrated"
        version = self.airflow.schema_version(self.metadata_url)
        engine = open_engine(self.metadata_url)
        with engine.connect() as connection:
            exists = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is not None
        engine.dispose()
        if exists and record.exists() and record.read_text(encoding="utf-8") == version:
            return StepResult("this version of Airflow created its tables before", skipped=True)
        note("airflow db migrate")
        self.supervisor.run(
            "airflow-db", airflow_command("db", "migrate"), self.airflow_environment(), self.cwd, self.stop
        )
        record.write_text(version, encoding="utf-8")
        return StepResult("airflow db migrate")

    def start_airflow(self, note: Note) -> StepResult:
        """Start what tasks need, and wait until it is healthy."""
        for name in STARTED_FIRST:
            self._start_airflow(name)
        self._wait_until_healthy(("metadatabase", "scheduler", "dag_processor"), note)
        self.api.set_pool(DATABASE_POOL, self.settings.database_pool_size, POOL_NOTE)
        return StepResult(f"API server, scheduler and DAG processor are healthy at {self.airflow_address}")

    def start_triggerer(self, note: Note) -> StepResult:
        """Start the triggerer, which waits in place of deferred tasks."""
        self._start_airflow("triggerer")
        self._wait_until_healthy(("triggerer",), note)
        return StepResult("healthy")

    def _wait_until_healthy(self, parts: Sequence[str], note: Note) -> None:
        def healthy() -> bool | None:
            self.check_processes()
            health = self.api.health()
            missing = [part for part in parts if health.get(part) != "healthy"]
            names = missing if health else ["api_server", *missing]
            note("waiting for " + ", ".join(name.replace("_", " ") for name in names))
            return None if missing else True

        poll_until(healthy, self.stop, timeout=AIRFLOW_TIMEOUT_SECONDS, on_timeout=self._unhealthy, interval=0.3)

    def airflow_environment(self) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        urls = {"database_url": self.database_url, "metadata_url": self.metadata_url}
        return self.airflow.environment(self.settings, **urls, options=self.airflow_options)

    def _start_airflow(self, name: str) -> None:
        self.supervisor.start(name, airflow_command(*COMMANDS[name]), self.airflow_environment(), self.cwd)

    def _unhealthy(self) -> LocalStackError:
        found = ", ".join(f"{part} {status}" for part, status in self.api.health().items()) or "no answer"
        return LocalStackError(
            f"expected Airflow to be healthy within {AIRFLOW_TIMEOUT_SECONDS:.0f} s; found: {found}.",
            "Read scheduler.log, api-server.log and dag-processor.log in the log folder, then run again.",
            self.settings.log_dir,
        )

    # -- the service ------------------------------------------------------------------------------

    def start_service(self, note: Note) -> StepResult:
        """Start the online service, and wait until it answers."""
        environment = stack_environment(
            self.settings, self.database_url, {"SLUICE_SERVICE_HOST": self.settings.service_host}
        )
        service = self.supervisor.start("service", [sys.executable, "-m", "model_service"], environment, self.cwd)

        def alive() -> bool | None:
            self.check_processes()
            with suppress(httpx.TransportError):
                answer = httpx.get(f"{self.service_address}/health", timeout=2, trust_env=False)
                return True if answer.is_success else None
            return None

        note("waiting for /health")
        poll_until(
            alive,
            self.stop,
            timeout=SERVICE_TIMEOUT_SECONDS,
            on_timeout=lambda: LocalStackError(
                f"expected the service to answer {self.service_address}/health within "
                f"{SERVICE_TIMEOUT_SECONDS:.0f} s; found no answer.",
                "Read its log, fix the cause, and run again.",
                service.log,
            ),
        )
        return StepResult(f"answers at {self.service_address}")

    def start_watcher(self, note: Note) -> StepResult:
        """Start the watcher, and wait until it has looked once."""
        environment = stack_environment(self.settings, self.database_url, {})
        command = [sys.executable, "-m", "include.cli", "watch"]
        end_heartbeat(self.settings.home, WATCHER)  # of one that was killed
        watcher = self.supervisor.start("watcher", command, environment, self.cwd)

        def looks() -> bool | None:
            self.check_processes()
            return True if WATCHER in read_heartbeats(self.settings.home) else None

        note("waiting for its first look")
        poll_until(
            looks,
            self.stop,
            timeout=SERVICE_TIMEOUT_SECONDS,
            on_timeout=lambda: LocalStackError(
                f"expected the watcher to look within {SERVICE_TIMEOUT_SECONDS:.0f} s; it did not.",
                "Read its log, fix the cause, and run again.",
                watcher.log,
            ),
        )
        return StepResult(f"looks every {self.settings.watch_seconds:.0f} s; metrics at {self.watcher_address}/metrics")

    @property
    def watcher_address(self) -> str:
        """The URL of the watcher's metrics."""
        return f"http://127.0.0.1:{self.settings.watch_port}"

    # -- all parts --------------------------------------------------------------------------------

    @property
    def cwd(self) -> Path:
        """The working folder of the processes. Not the checkout: its folders would shadow installed packages."""
        return self.airflow.folder

    def check_processes(self) -> None:
        """Check that every process that was started is still running.

        Raises
        ------
        LocalStackError
            Naming the process that has exited, with the last error lines of its log.
        """
        exited = self.supervisor.exited()
        if exited:
            raise exit_error(exited[0])

    def processes(self) -> list[psutil.Process]:
        """Return this process, every process that it started, and the database's."""
        return [psutil.Process(), *self.supervisor.running(), *database_processes(self.settings.home)]

    def close(self, kill_now: threading.Event) -> list[psutil.Process]:
        """Stop every process, the database last, and return those that could not be stopped."""
        self.stop.set()
        survivors = self.supervisor.stop(kill_now, first=STOPPED_FIRST)
        if self.engine is not None:
            self.engine.dispose()
        stop_database(self.settings.home)
        return [*survivors, *database_processes(self.settings.home)]
