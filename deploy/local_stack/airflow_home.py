"""Airflow's folder, secrets, settings and processes, as `make run` uses them."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url

from deploy.local_stack.supervisor import MARK
from include.settings import REPOSITORY, Settings, child_environment
from include.warehouse import under_role

ADMIN = "admin"
# Long imports are done once, in the scheduler, and every task is forked from it.
PRELOADING = REPOSITORY / "deploy" / "airflow" / "config" / "airflow_local_settings.py"

NOTHING: Mapping[str, str] = {}

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Airflow's four processes. Logs lie in files that the API server reads, so nobody needs to serve them."""

WORKERS = ("worker-1", "worker-2")
"""What `make distributed` starts beside these, to run the tasks."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is generated once and kept, readable by the owner alone."""

    password: str
    jwt_secret: str
    fernet_key: str
    session_key: str
    broker_password: str

    @classmethod
    def kept_in(cls, file: Path) -> Secrets:
        """Read the secrets from `file`; generate there those that it does not hold."""
        kept = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}
        fresh = {
            "password": secrets.token_urlsafe(12),
            "jwt_secret": secrets.token_hex(48),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii"),
            "session_key": secrets.token_hex(32),
            "broker_password": secrets.token_hex(24),
        }
        if kept.keys() != fresh.keys():
            write_private(file, json.dumps(fresh | kept))
        return cls(**(fresh | kept))


@dataclass(frozen=True, slots=True)
class AirflowHome:
    """Where the local Airflow keeps its things: ``<home>/airflow``."""

    folder: Path
    secrets: Secrets

    @classmethod
    def prepare(cls, settings: Settings) -> AirflowHome:
        """Make the folder with its secrets, password file and preloading."""
        folder = settings.home / "airflow"
        (folder / "config").mkdir(parents=True, exist_ok=True)
        home = cls(folder, Secrets.kept_in(settings.home / "local" / "secrets.json"))
        write_private(home.password_file, json.dumps({ADMIN: home.secrets.password}) + "\n")
        if PRELOADING.exists():
            shutil.copyfile(PRELOADING, folder / "config" / PRELOADING.name)
        return home

    @property
    def password_file(self) -> Path:
        """The file that Airflow's simple authentication reads."""
        return self.folder / "passwords.json"

    def migrated_to(self, metadata_url: str) -> str:
        """Return what to remember of a migrated metadata database: whose tables, and where."""
        return f"{importlib.metadata.version('apache-airflow')} {make_url(metadata_url).database}"

    def environment(
        self, settings: Settings, *, database_url: str, metadata_url: str, more: Mapping[str, str] = NOTHING
    ) -> dict[str, str]:
        """Return the whole environment of Airflow's processes and of the tasks.

        ``AIRFLOW_*`` variables of the caller are dropped: they speak of another installation.

        Parameters
        ----------
        settings : Settings
            With the ports that were chosen.
        database_url : str
            Where Sluice's own schemas are.
        metadata_url : str
            Where Airflow's tables are, ``postgresql://...``.
        more : mapping of str to str
            Options of Airflow, ``<SECTION>__<KEY>``, beside ours or in their place.
        """
        address = f"http://127.0.0.1:{settings.airflow_port}"
        metadata = make_url(metadata_url)
        options = {
            "CORE__DAGS_FOLDER": REPOSITORY / "dags",
            "CORE__PLUGINS_FOLDER": REPOSITORY / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 8,
            "CORE__FERNET_KEY": self.secrets.fernet_key,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.password_file,
            "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": _shown(metadata.set(drivername="postgresql+psycopg2")),
            "DATABASE__SQL_ALCHEMY_CONN_ASYNC": _shown(metadata.set(drivername="postgresql+asyncpg")),
            "API__HOST": "127.0.0.1",
            "API__PORT": settings.airflow_port,
            "API__BASE_URL": address,
            "API__WORKERS": 1,
            "API__SECRET_KEY": self.secrets.session_key,
            "API_AUTH__JWT_SECRET": self.secrets.jwt_secret,
            # The lever of a task's latency: 0.5 s instead of 1.2.
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
            # A scheduler's tasks are missed 30 s after its last sign of life, and only when somebody looks; by default
            # that is every five minutes.
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 15,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 10,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        if settings.statsd_host:
            options |= {
                "METRICS__STATSD_ON": True,
                "METRICS__STATSD_HOST": settings.statsd_host,
                "METRICS__STATSD_PORT": settings.statsd_port,
            }
        airflow = {f"AIRFLOW__{name}": str(value) for name, value in {**options, **more}.items()}
        sluice = {"AIRFLOW_HOME": str(self.folder)}
        if settings.database_url is None and settings.trainer_database_url is None:
            # The embedded server has one login, which stands above all; retraining had better be less.
            sluice["SLUICE_TRAINER_DATABASE_URL"] = under_role(database_url, "sluice_trainer")
        return stack_environment(settings, database_url, airflow | sluice)


def airflow_command(*arguments: str) -> list[str]:
    """Return the command line that runs Airflow in this very environment."""
    return [sys.executable, "-m", "airflow", *arguments]


def stack_environment(settings: Settings, database_url: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of the stack: this one's, where Sluice is, and `more`."""
    changes = {
        MARK: str(settings.home),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_AIRFLOW_PORT": str(settings.airflow_port),
        "SLUICE_AIRFLOW_URL": settings.airflow_url,
        "SLUICE_SERVICE_PORT": str(settings.service_port),
        "GX_ANALYTICS_ENABLED": "false",
        # Threads that spin while they wait for each other made a fit on a busy machine 4 to 15 times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        # A proxy for the outside world must not get what the parts say to each other.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    return child_environment({**changes, **more}, without=("AIRFLOW_",))


def write_private(file: Path, content: str) -> None:
    """Write `content` to `file`, which only its owner may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(content, encoding="ascii")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)
