"""The environment, read once, checked and frozen. Nothing else in Sluice reads ``os.environ``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from include.errors import SettingsError
from include.settings.environment import child_environment, set_for_libraries

__all__ = [
    "DATABASE_POOL",
    "POOL_NOTE",
    "REPOSITORY",
    "Settings",
    "child_environment",
    "load_settings",
    "set_for_libraries",
]

_CORRECT = "Correct or unset the variable and start again."
REPOSITORY = Path(__file__).resolve().parents[2]

DATABASE_POOL = "sluice_database"
"""The Airflow pool that the tasks of `retrain` and `score` run in."""
POOL_NOTE = "Tasks of Sluice that work in the database: SLUICE_DATABASE_MAX_CONNECTIONS bounds them."
CONNECTIONS_A_TASK = 5  # three of the engine's, one that writes scores, one that streams rows


class Pin(BaseModel):
    """The version of a model that a pinned service serves, whoever is champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    artifact_digest: str = Field(pattern="^[0-9a-f]{64}$")


class Settings(BaseSettings):
    """What an operator can turn, each as an environment variable ``SLUICE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    home: Path = Field(REPOSITORY / ".sluice", description="Where Sluice keeps what it makes.")
    artifacts_url: str | None = Field(
        None,
        pattern="^(s3://[^/]+|file:///)",
        description="Where artifacts are kept: s3://bucket/prefix, or file:///folder; unset: artifacts in SLUICE_HOME.",
    )
    models_dir: Path = Field(REPOSITORY / "include" / "models", description="The folder of model folders.")
    database_url: str | None = Field(
        None, description="postgresql://user:password@host:port/database; unset: the embedded server."
    )
    database_max_connections: int = Field(
        40, ge=5, description="Most connections that Airflow's tasks may hold to it together; a task takes up to five."
    )
    service_url: str | None = Field(
        None, description="Where tasks reach the service, for the parity watch; unset: this host, SLUICE_SERVICE_PORT."
    )
    service_token: SecretStr | None = Field(
        None, description="The token that they show it; unset: one of their own making when SLUICE_AUTH_SECRET is set."
    )
    worker_name: str | None = Field(
        None, description="The name that an Airflow worker goes by in Airflow's records; unset: the host's."
    )
    trainer_database_url: str | None = Field(
        None, description="Under whose role the tasks of retraining work; unset: the same as all."
    )
    approver_database_url: str | None = Field(
        None, description="Under whose role approvals are written; unset: the same."
    )
    default_model: str = Field("iris", description="The model that POST /predict asks.")
    service_host: str = Field("127.0.0.1", description="Address on which the service listens.")
    service_port: int = Field(8090, ge=1, le=65535, description="Port on which the service listens.")
    service_workers: int = Field(2, ge=1, description="Worker processes of the service.")
    service_max_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Most bytes that a request's body may have.")
    service_max_rows: int = Field(10_000, ge=1, description="Most rows that one request may hold.")
    service_version_cache_size: int = Field(
        8, ge=1, description="Most versions, beside the champions, that a worker keeps loaded for requests by version."
    )
    service_max_keys: int = Field(1_000, ge=1, description="Most keys that one look-up of scores may name.")
    service_database_url: str | None = Field(
        None, description="Where the service reads, under a role that may only read; unset: SLUICE_DATABASE_URL."
    )
    service_query_timeout_seconds: float = Field(
        0.3, gt=0, le=10, description="How long a look-up of scores may take in the database."
    )
    service_job_max_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="Most bytes that the body of an asynchronous prediction may have."
    )
    service_job_max_rows: int = Field(100_000, ge=1, description="Most rows that one asynchronous prediction may hold.")
    service_job_queue_limit: int = Field(
        100, ge=1, description="Most jobs that may wait or run; one more is answered 503."
    )
    service_job_ttl_hours: float = Field(24, gt=0, le=24 * 365, description="How long a job and its result are kept.")
    service_job_lease_seconds: float = Field(
        30, gt=0, le=3600, description="After how long without progress a job is taken from its worker."
    )
    service_poll_seconds: float = Field(0.5, gt=0, le=60, description="How often the service asks for new champions.")
    service_pinned_versions: Mapping[str, Pin] = Field(
        default_factory=dict,
        description='JSON object: model to {"version": 3, "artifact_digest": "<hex>"}; served instead of champions.',
    )
    service_max_concurrency: int = Field(
        64, ge=1, le=1024, description="Most requests under way in a worker; then 503."
    )
    service_request_timeout_seconds: float = Field(
        30, gt=0, le=3600, description="How long a request may take to come whole and be answered; then it is cut off."
    )
    service_shutdown_timeout_seconds: int = Field(
        10, ge=1, le=3600, description="How long what runs may take after SIGTERM."
    )
    service_rate_limit: float = Field(
        0, ge=0, description="Most requests a second of one caller, over all workers, each its share; 0: no limit."
    )
    service_rate_limit_burst: int = Field(
        100, ge=1, description="Requests of a caller at once before the rate counts, over all workers, each its share."
    )
    service_sample_rate: float = Field(
        0, ge=0, le=1, description="Share of predictions that go into sluice.prediction_log, with their features."
    )
    service_sample_days: int = Field(30, ge=1, description="How long sluice.prediction_log keeps a prediction.")
    service_access_log: str = Field(
        "stdout",
        pattern="^(stdout|file|off)$",
        description="Where the service writes a line a request: stdout, file or off.",
    )
    service_access_log_bytes: int = Field(
        50_000_000, ge=10_000, description="Size at which logs/access.log is put aside; five are kept."
    )
    service_access_log_payloads: bool = Field(
        False, description="Whether the access log shows features and predictions."
    )
    service_errors_include_values: bool = Field(
        False, description="Whether an error repeats the values that it refuses."
    )
    service_log_level: str = Field(
        "info", pattern="^(info|debug)$", description="debug: the service's log shows stack traces, too."
    )
    service_statsd_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of requests whose single timings go to StatsD, where that is set.",
    )
    service_max_depth: int = Field(64, ge=4, le=512, description="Deepest nesting of a request's JSON.")
    service_cpu_affinity: bool = Field(
        True,
        description="Whether each worker stays on a core of its own, where there are as many workers as cores or more.",
    )
    service_fast_path: bool = Field(
        True, description="Whether predictions are answered before Flask's dispatcher; 0: by Flask, with the same code."
    )
    auth_secret: SecretStr | None = Field(
        None, description="Key of at least 32 bytes that tokens are signed with (HS256)."
    )
    auth_public_key: Path | None = Field(
        None, description="PEM file of the key that tokens are verified with (RS256, ES256)."
    )
    auth_jwks_url: str | None = Field(
        None, description="Address of the issuer's JWK Set, whose keys rotate (RS256, ES256)."
    )
    auth_issuer: str = Field("sluice", description="What a token must name as its issuer (iss).")
    auth_audience: str = Field("sluice", description="What a token must name as its audience (aud).")
    auth_leeway_seconds: float = Field(10, ge=0, le=120, description="By how much clocks may differ.")
    auth_jwks_cooldown_seconds: float = Field(
        30, ge=0, le=3600, description="How often the JWK Set is read again at most for a key that it does not hold."
    )
    signing_key: SecretStr | None = Field(
        None,
        description="Private Ed25519 key that artifacts are signed with: a PEM file, or its line of base64; unset, "
        "with no trusted keys either: a pair under SLUICE_HOME.",
    )
    trusted_keys: str | None = Field(
        None,
        description="Public Ed25519 keys that artifacts may be signed with: PEM files, or their lines of base64, "
        "separated by commas.",
    )
    airflow_port: int = Field(8080, ge=1, le=65535, description="Port of the Airflow UI that `make run` starts.")
    airflow_url: str = Field("http://127.0.0.1:8080", description="Where people reach Airflow; used in alerts' links.")
    statsd_host: str | None = Field(None, description="Host of a StatsD server; unset: no metrics are sent.")
    statsd_port: int = Field(8125, ge=1, le=65535, description="UDP port of the StatsD server.")
    train_memory_mib: int = Field(
        8192, ge=512, description="Most memory that a training may take by our estimate; more is an error before it."
    )
    train_backend: Literal["loky", "threading", "dask", "ray"] | None = Field(
        None,
        description="Where an estimator's parallel parts run: loky, threading, dask or ray; unset: joblib chooses.",
    )
    train_cluster_address: str | None = Field(
        None, description="The cluster's scheduler: tcp://host:8786 for Dask; Ray's address."
    )
    train_n_jobs: int = Field(
        -1, ge=-1, description="How many jobs an estimator may run there at once when it does not say; -1: one a core."
    )
    alert_channels: Mapping[str, str] = Field(
        default_factory=dict,
        description='JSON object: channel name to Apprise URL. "default" gets every alert.',
    )
    sample_dates: Literal["shifted", "true"] = Field(
        "shifted",
        description="shifted: the flights' year runs through today; true: 2013 as it was.",
    )

    @property
    def database_slots(self) -> int:
        """How many tasks may work in the database at once: the slots of `DATABASE_POOL`."""
        return self.database_max_connections // CONNECTIONS_A_TASK

    def card_url(self, model: str, version: int) -> str:
        """Return where the Airflow UI shows a version's card."""
        return f"{self.airflow_url.rstrip('/')}/sluice/cards/{model}/{version}"

    @property
    def artifacts_dir(self) -> Path:
        """Where registered artifacts lie when SLUICE_ARTIFACTS_URL is unset, ``<model>/<version>/``."""
        return self.home / "artifacts"

    @property
    def keys_dir(self) -> Path:
        """Where the embedded pair of keys lies."""
        return self.home / "keys"

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
    except UnreadableSetting as error:
        # Its message ends with: error parsing value for field "<name>" from source "EnvSettingsSource"
        name = str(error).split('"')[1].upper()
        raise SettingsError(f"SLUICE_{name}: expected JSON; found something else. {_CORRECT}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        name = "SLUICE_" + str(fault["loc"][0] if fault["loc"] else "?").upper()
        raise SettingsError(f"{name}: {fault['msg']}; found {str(fault['input'])[:100]!r}. {_CORRECT}") from error
