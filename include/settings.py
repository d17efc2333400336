"""The environment, read once, checked and frozen. Nothing else in Sluice reads ``os.environ``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What an operator can turn, each as an environment variable ``SLUICE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    home: Path = Field(REPOSITORY / ".sluice", description="Where Sluice keeps what it makes.")
    models_dir: Path = Field(REPOSITORY / "include" / "models", description="The folder of model folders.")
    database_url: str | None = Field(
        None, description="postgresql://user:password@host:port/database; unset: the embedded server."
    )
    default_model: str = Field("iris", description="The model that POST /predict asks.")
    service_host: str = Field("127.0.0.1", description="Address on which the service listens.")
    service_port: int = Field(8090, ge=1, le=65535, description="Port on which the service listens.")
    service_workers: int = Field(2, ge=1, description="Worker processes of the service.")
    service_max_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Most bytes that a request's body may have.")
    service_max_rows: int = Field(10_000, ge=1, description="Most rows that one request may hold.")
    service_poll_seconds: float = Field(0.5, gt=0, le=60, description="How often the service asks for new champions.")
    airflow_port: int = Field(8080, ge=1, le=65535, description="Port of the Airflow UI that `make run` starts.")
    airflow_url: str = Field("http://127.0.0.1:8080", description="Where people reach Airflow; used in alerts' links.")
    statsd_host: str | None = Field(None, description="Host of a StatsD server; unset: no metrics are sent.")
    statsd_port: int = Field(8125, ge=1, le=65535, description="UDP port of the StatsD server.")
    alert_channels: Mapping[str, str] = Field(
        default_factory=dict,
        description='JSON object: channel name to Apprise URL. "default" gets every alert.',
    )
    sample_dates: Literal["shifted", "true"] = Field(
        "shifted",
        description="shifted: the flights' year runs through today; true: 2013 as it was.",
    )

    @property
    def artifacts_dir(self) -> Path:
        """Where registered artifacts lie, ``<model>/<version>/``."""
        return self.home / "artifacts"

    @property
    def work_dir(self) -> Path:
        """Where runs keep what passes between their tasks, ``<model>/<run>/``."""
        return self.home / "work"

    @property
    def docs_dir(self) -> Path:
        """Where Data Docs are written."""
        return self.home / "data_docs"

    @property
    def log_dir(self) -> Path:
        """Where logs are written."""
        return self.home / "logs"


def load_settings() -> Settings:
    """Read the environment.

    Raises
    ------
    SettingsError
        Naming the variable, what was expected and what was found.
    """
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors()[0]
        name = "SLUICE_" + str(fault["loc"][0] if fault["loc"] else "?").upper()
        raise SettingsError(
            f"{name}: {fault['msg']}; found {str(fault['input'])[:100]!r}. "
            "Correct or unset the variable and start again."
        ) from error


def child_environment(changes: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return this process's environment for a child, with `changes`, and no variable named ``<without>...``.

    Parameters
    ----------
    changes : mapping of str to str
        Variables to set.
    without : tuple of str
        Prefixes of variables that the child must not inherit.
    """
    kept = (
        {name: value for name, value in os.environ.items() if not name.startswith(without)} if without else os.environ
    )
    return {**kept, **changes}
