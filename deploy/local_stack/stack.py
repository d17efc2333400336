"""The parts of the local stack: the embedded PostgreSQL, the schemas, the samples, Airflow, the service."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
from deploy.local_stack.logs import told_as_notes
from deploy.local_stack.polling import poll_until
from deploy.local_stack.steps import Outcome
from deploy.local_stack.supervisor import Supervisor, death_of, register_of
from include.errors import LocalStackError
from include.settings import DATABASE_POOL, POOL_NOTE, Settings
from include.warehouse import migrate, open_engine, start_embedded

Note = Callable[[str], None]

# Parts that must be healthy before work is given to Airflow; the triggerer follows beside the work.
NEEDED_AT_FIRST = ("api-server", "dag-processor", "scheduler")
BOOT_SECONDS = 240.0
NEEDS_THE_API = ("scheduler", "triggerer", *WORKERS)


@dataclass(slots=True)
class Stack:
    """What runs, and where. Each method that takes a `note` is the work of one step.

    Parameters
    ----------
    settings : Settings
        With the ports that were chosen, and `home` absolute.
    stop : Event
        Set when the stack is to be stopped.
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
        self.supervisor = Supervisor(register_of(home), self.settings.log_dir)
        self.airflow = AirflowHome.prepare(self.settings)
        self.api = AirflowApi(self.airflow_address, ADMIN, self.airflow.secrets.password)

    @property
    def airflow_address(self) -> str:
        """Where Airflow answers."""
        return f"http://127.0.0.1:{self.settings.airflow_port}"

    @property
    def service_address(self) -> str:
        """Where the service answers us, whatever address it listens on."""
        host = self.settings.service_host
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.settings.service_port}"  # noqa: S104

    @property
    def warehouse(self) -> Engine:
        """The engine on Sluice's database, once the step that starts it is done."""
        if self.engine is None:
            self.engine = open_engine(self.database_url)
        return self.engine

    # -- the database -----------------------------------------------------------------------------

    def start_database(self, note: Note) -> Outcome:
        """Start the embedded server; it holds Airflow's tables also when Sluice's own are elsewhere."""
        note("starting the embedded server")
        began = time.monotonic()
        url = start_embedded(self.settings.home)
        self.database_url = self.settings.database_url or url
        self.metadata_url = url.rsplit("/", 1)[0] + "/airflow"
        engine = open_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            if not connection.execute(text("SELECT 1 FROM pg_database WHERE datname = 'airflow'")).scalar():
                connection.execute(text("CREATE DATABASE airflow"))
        engine.dispose()
        address = make_url(url)
        elsewhere = "; Sluice's own tables are in SLUICE_DATABASE_URL" if self.settings.database_url else ""
        return Outcome(f"listens on 127.0.0.1:{address.port} after {time.monotonic() - began:.1f} s{elsewhere}")

    def migrate_schema(self, note: Note) -> Outcome:
        """Bring Sluice's own schemas up to date."""
        note("running migrations")
        migrate(self.database_url)
        return Outcome("schemas source, scores and sluice are up to date")

    def load_samples(self, note: Note) -> Outcome:
        """Load the samples' source tables unless they are there."""
        # Loading pulls pandas or pyarrow in; only this step needs it.
        from include.warehouse.samples import load_samples

        before = self._sample_rows()
        with told_as_notes("include.warehouse.samples", note):
            loaded = load_samples(self.warehouse, dates=self.settings.sample_dates, today=datetime.now(UTC).date())
        told = ", ".join(f"{table} {rows:,}" for table, rows in loaded.items())
        return Outcome(f"rows: {told}", kept=before == self._sample_rows() and bool(before))

    def _sample_rows(self) -> dict[str, str]:
        """Return each source table's place on disk, which changes when a table is written anew."""
        query = (
            "SELECT relname, relfilenode FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE nspname = 'source' AND relkind IN ('r', 'p')"
        )
        with self.warehouse.connect() as connection:
            return {str(name): str(node) for name, node in connection.execute(text(query))}

    # -- Airflow ----------------------------------------------------------------------------------

    def migrate_airflow(self, note: Note) -> Outcome:
        """Make or change Airflow's own tables, which costs 8 s, unless this version of Airflow did it before."""
        remembered = self.settings.home / "local" / "airflow-migrated"
        wanted = self.airflow.migrated_to(self.metadata_url)
        engine = open_engine(self.metadata_url)
        with engine.connect() as connection:
            there = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is not None
        engine.dispose()
        if there and remembered.exists() and remembered.read_text(encoding="utf-8") == wanted:
            return Outcome("this version of Airflow has made its tables before", kept=True)
        note("airflow db migrate")
        self.supervisor.run(
            "airflow-db", airflow_command("db", "migrate"), self.airflow_environment(), self.cwd, self.stop
        )
        remembered.write_text(wanted, encoding="utf-8")
        return Outcome("airflow db migrate")

    def start_airflow(self, note: Note) -> Outcome:
        """Start the parts that tasks need, and wait until they are healthy."""
        for name in NEEDED_AT_FIRST:
            self._start_airflow(name)
        self._wait_until_healthy(("metadatabase", "scheduler", "dag_processor"), note)
        self.api.set_pool(DATABASE_POOL, self.settings.database_slots, POOL_NOTE)
        return Outcome(f"API server, scheduler and DAG processor are healthy at {self.airflow_address}")

    def start_triggerer(self, note: Note) -> Outcome:
        """Start the part that waits on behalf of deferred tasks."""
        self._start_airflow("triggerer")
        self._wait_until_healthy(("triggerer",), note)
        return Outcome("healthy")

    def _wait_until_healthy(self, parts: Sequence[str], note: Note) -> None:
        def look() -> bool | None:
            self.watch()
            health = self.api.health()
            missing = [part for part in parts if health.get(part) != "healthy"]
            names = missing if health else ["api_server", *missing]
            note("waiting for " + ", ".join(name.replace("_", " ") for name in names))
            return None if missing else True

        poll_until(look, self.stop, seconds=BOOT_SECONDS, otherwise=self._slow_boot, every=0.3)

    def airflow_environment(self) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        urls = {"database_url": self.database_url, "metadata_url": self.metadata_url}
        return self.airflow.environment(self.settings, **urls, more=self.airflow_options)

    def _start_airflow(self, name: str) -> None:
        self.supervisor.start(name, airflow_command(*COMMANDS[name]), self.airflow_environment(), self.cwd)

    def _slow_boot(self) -> LocalStackError:
        found = ", ".join(f"{part} {status}" for part, status in self.api.health().items()) or "no answer"
        return LocalStackError(
            f"expected Airflow to be healthy within {BOOT_SECONDS:.0f} s; found: {found}.",
            "Read scheduler.log, api-server.log and dag-processor.log in that folder, then run again.",
            self.settings.log_dir,
        )

    # -- the service ------------------------------------------------------------------------------

    def start_service(self, note: Note) -> Outcome:
        """Start the Flask service, and wait until it is alive."""
        environment = stack_environment(
            self.settings, self.database_url, {"SLUICE_SERVICE_HOST": self.settings.service_host}
        )
        service = self.supervisor.start("service", [sys.executable, "-m", "model_service"], environment, self.cwd)

        def alive() -> bool | None:
            self.watch()
            with suppress(httpx.TransportError):
                answer = httpx.get(f"{self.service_address}/health", timeout=2, trust_env=False)
                return True if answer.is_success else None
            return None

        note("waiting for /health")
        poll_until(
            alive,
            self.stop,
            seconds=60,
            otherwise=lambda: LocalStackError(
                f"expected the service to answer {self.service_address}/health within 60 s; found no answer.",
                "Read its log, mend what it names, and run again.",
                service.log,
            ),
        )
        return Outcome(f"alive at {self.service_address}")

    # -- all of it --------------------------------------------------------------------------------

    @property
    def cwd(self) -> Path:
        """The working folder of the processes: not the checkout, whose folders would shadow packages."""
        return self.airflow.folder

    def watch(self) -> None:
        """Check that everything that was started lives.

        Raises
        ------
        LocalStackError
            Naming the process that died, with the last error lines of its log.
        """
        dead = self.supervisor.dead()
        if dead:
            raise death_of(dead[0])

    def processes(self) -> list[psutil.Process]:
        """Return this process, all that it started, and the database's."""
        return [psutil.Process(), *self.supervisor.running(), *database_processes(self.settings.home)]

    def close(self, hurry: threading.Event) -> list[psutil.Process]:
        """Stop every process, the database last, and return those that would not end."""
        self.stop.set()
        # A task that ends reports it to the API server, and waits long for one that is gone.
        survivors = self.supervisor.stop(hurry, first=NEEDS_THE_API)
        if self.engine is not None:
            self.engine.dispose()
        stop_database(self.settings.home)
        return [*survivors, *database_processes(self.settings.home)]
