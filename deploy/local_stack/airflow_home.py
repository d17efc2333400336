"""Airflow in the local stack: its folder, secrets, options and commands."""

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

from deploy.local_stack.supervisor import STACK_VARIABLE
from include.settings import REPOSITORY, Settings, child_environment
from include.warehouse import under_role

ADMIN = "admin"
REVIEWER = "reviewer"
"""A second account: who started a run may not approve its result, so another person must be able to log in."""
# Airflow's local settings import slow packages once, in the scheduler, from which every task is forked.
LOCAL_SETTINGS = REPOSITORY / "deploy" / "airflow" / "config" / "airflow_local_settings.py"

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Airflow's four processes. The API server reads the log files itself, so none of them serves logs."""

WORKERS = ("worker-1", "worker-2")
"""The Celery workers that `make distributed` starts in addition."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords and keys, generated once and stored in a file that only its owner can read."""

    password: str
    reviewer_password: str
    jwt_secret: str
    fernet_key: str
    session_key: str
    broker_password: str

    @classmethod
    def load_or_create(cls, file: Path) -> Secrets:
        """Read the secrets from `file`; generate those that are missing, and write them there."""
        stored = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}
        generated = {
            "password": secrets.token_urlsafe(12),
            "reviewer_password": secrets.token_urlsafe(12),
            "jwt_secret": secrets.token_hex(48),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii"),
            "session_key": secrets.token_hex(32),
            "broker_password": secrets.token_hex(24),
        }
        if stored.keys() != generated.keys():
            write_private(file, json.dumps(generated | stored))
        return cls(**(generated | stored))


@dataclass(frozen=True, slots=True)
class AirflowHome:
    """The folder of the local Airflow, ``<home>/airflow``, and its secrets."""

    folder: Path
    secrets: Secrets

    @classmethod
    def prepare(cls, settings: Settings) -> AirflowHome:
        """Create the folder with secrets, password file and local settings."""
        folder = settings.home / "airflow"
        (folder / "config").mkdir(parents=True, exist_ok=True)
        home = cls(folder, Secrets.load_or_create(settings.home / "local" / "secrets.json"))
        passwords = {ADMIN: home.secrets.password, REVIEWER: home.secrets.reviewer_password}
        write_private(home.password_file, json.dumps(passwords) + "\n")
        if LOCAL_SETTINGS.exists():
            shutil.copyfile(LOCAL_SETTINGS, folder / "config" / LOCAL_SETTINGS.name)
        return home

    @property
    def password_file(self) -> Path:
        """The file that Airflow's simple auth manager reads."""
        return self.folder / "passwords.json"

    def schema_version(self, metadata_url: str) -> str:
        """Return the Airflow version and the database that `airflow db migrate` would migrate now."""
        return f"{importlib.metadata.version('apache-airflow')} {make_url(metadata_url).database}"

    def environment(
        self, settings: Settings, *, database_url: str, metadata_url: str, options: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the whole environment of Airflow's processes and tasks.

        ``AIRFLOW_*`` variables of the caller are removed: they belong to another installation.

        Parameters
        ----------
        settings : Settings
            With ports that are free.
        database_url : str
            Where Sluice's own schemas are.
        metadata_url : str
            Where Airflow's tables are, ``postgresql://...``.
        options : mapping of str to str, optional
            Options of Airflow, ``<SECTION>__<KEY>``, that are added to the stack's or replace them.
        """
        address = f"http://127.0.0.1:{settings.airflow_port}"
        metadata = make_url(metadata_url)
        defaults = {
            "CORE__DAGS_FOLDER": REPOSITORY / "dags",
            "CORE__PLUGINS_FOLDER": REPOSITORY / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 8,
            "CORE__FERNET_KEY": self.secrets.fernet_key,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin,{REVIEWER}:user",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.password_file,
            "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": _with_password(metadata.set(drivername="postgresql+psycopg2")),
            "DATABASE__SQL_ALCHEMY_CONN_ASYNC": _with_password(metadata.set(drivername="postgresql+asyncpg")),
            "API__HOST": "127.0.0.1",
            "API__PORT": settings.airflow_port,
            "API__BASE_URL": address,
            "API__WORKERS": 1,
            "API__SECRET_KEY": self.secrets.session_key,
            "API_AUTH__JWT_SECRET": self.secrets.jwt_secret,
            # This makes a task start after 0.5 s instead of 1.2 s.
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
            # The tasks of a dead scheduler are found 30 s after its last heartbeat, but only by this check; by default
            # it runs every five minutes.
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 15,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 10,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        if settings.statsd_host:
            defaults |= {
                "METRICS__STATSD_ON": True,
                "METRICS__STATSD_HOST": settings.statsd_host,
                "METRICS__STATSD_PORT": settings.statsd_port,
            }
        airflow = {f"AIRFLOW__{name}": str(value) for name, value in {**defaults, **(options or {})}.items()}
        sluice = {"AIRFLOW_HOME": str(self.folder)}
        if settings.database_url is None and settings.trainer_database_url is None:
            # The embedded server has one login, a superuser. Retraining needs fewer rights.
            sluice["SLUICE_TRAINER_DATABASE_URL"] = under_role(database_url, "sluice_trainer")
        return stack_environment(settings, database_url, airflow | sluice)


def airflow_command(*arguments: str) -> list[str]:
    """Return the command line that runs Airflow in this virtual environment."""
    return [sys.executable, "-m", "airflow", *arguments]


def stack_environment(settings: Settings, database_url: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of the stack: this process's, Sluice's settings, and `more`."""
    changes = {
        STACK_VARIABLE: str(settings.home),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_AIRFLOW_PORT": str(settings.airflow_port),
        "SLUICE_AIRFLOW_URL": settings.airflow_url,
        "SLUICE_SERVICE_PORT": str(settings.service_port),
        **({"SLUICE_STATSD_HOST": settings.statsd_host} if settings.statsd_host else {}),
        "SLUICE_STATSD_PORT": str(settings.statsd_port),
        "SLUICE_WATCH_PORT": str(settings.watch_port),
        "SLUICE_WATCH_STATSD_PORT": str(settings.watch_statsd_port),
        "GX_ANALYTICS_ENABLED": "false",
        # With threads that spin while they wait for each other, a fit on a busy machine took 4 to 15 times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        # Requests between the processes must not go to a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    return child_environment({**changes, **more}, without=("AIRFLOW_",))


def write_private(file: Path, content: str) -> None:
    """Write `content` to `file`, which only its owner can read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(content, encoding="ascii")


def _with_password(url: URL) -> str:
    return url.render_as_string(hide_password=False)
