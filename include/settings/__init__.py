"""Settings: the environment, read once, validated and frozen. Nothing else in Sluice reads ``os.environ``."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from include.errors import SettingsError
from include.settings.checks import fault_of_database_url, unknown_variables
from include.settings.environment import child_environment, set_for_libraries, unset_for_libraries

__all__ = [
    "DATABASE_POOL",
    "POOL_NOTE",
    "REPOSITORY",
    "Settings",
    "child_environment",
    "load_settings",
    "set_for_libraries",
    "unset_for_libraries",
    "worker_hostname",
]

# Values that a message must not show: they contain passwords or tokens.
_SECRET = frozenset(
    {
        "airflow_database_url",
        "alert_channels",
        "approver_database_url",
        "auth_secret",
        "database_url",
        "service_database_url",
        "service_token",
        "signing_key",
        "trainer_database_url",
        "watch_ping_url",
    }
)
_CORRECT = "Correct or unset the variable and start again."
REPOSITORY = Path(__file__).resolve().parents[2]

DATABASE_POOL = "sluice_database"
"""The Airflow pool of the tasks of `retrain` and `score`."""
POOL_NOTE = "Tasks of Sluice that use the database; SLUICE_DATABASE_MAX_CONNECTIONS limits their number."
CONNECTIONS_A_TASK = 5  # three of the engine's, one that writes scores, one that streams rows


class Pin(BaseModel):
    """A version that a pinned service serves instead of the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    artifact_digest: str = Field(pattern="^[0-9a-f]{64}$")


class Settings(BaseSettings):
    """Settings, read from ``SLUICE_*`` environment variables."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    home: Path = Field(REPOSITORY / ".sluice", description="Folder for everything that Sluice writes.")
    artifacts_url: str | None = Field(
        None,
        pattern="^(s3://[^/]+|file:///)",
        description="URL of the artifacts: s3://bucket/prefix or file:///folder. Default: the folder artifacts in "
        "SLUICE_HOME.",
    )
    models_dir: Path = Field(REPOSITORY / "include" / "models", description="Folder of the model folders.")
    database_url: str | None = Field(
        None,
        description="Database URL, postgresql://user:password@host:port/database. Default: the embedded server.",
    )
    database_max_connections: int = Field(
        40,
        ge=5,
        description="Maximum number of database connections of all Airflow tasks together. A task uses up to five.",
    )
    service_url: str | None = Field(
        None,
        description="URL at which tasks reach the service, for the parity check. "
        "Default: this host, port SLUICE_SERVICE_PORT.",
    )
    service_token: SecretStr | None = Field(
        None,
        description="Token that tasks send to the service. Default: one signed with SLUICE_AUTH_SECRET, if set.",
    )
    worker_name: str | None = Field(
        None, description="Name of this Airflow worker in Airflow's records. Default: the host name."
    )
    trainer_database_url: str | None = Field(
        None, description="Database URL (role) used by the tasks of retraining. Default: SLUICE_DATABASE_URL."
    )
    approver_database_url: str | None = Field(
        None, description="Database URL (role) used to record approvals. Default: SLUICE_DATABASE_URL."
    )
    default_model: str = Field("iris", description="Model that POST /predict uses.")
    service_host: str = Field("127.0.0.1", description="Address on which the service listens.")
    service_port: int = Field(8090, ge=1, le=65535, description="Port on which the service listens.")
    service_workers: int = Field(2, ge=1, description="Number of worker processes of the service.")
    service_max_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Maximum size of a request body, in bytes.")
    service_max_rows: int = Field(10_000, ge=1, description="Maximum number of rows of a request.")
    service_version_cache_size: int = Field(
        8,
        ge=1,
        description="Maximum number of versions that a worker keeps loaded for requests by version, beside the "
        "champions.",
    )
    service_max_keys: int = Field(1_000, ge=1, description="Maximum number of keys of one look-up of scores.")
    service_database_url: str | None = Field(
        None, description="Database URL of the service, with a read-only role. Default: SLUICE_DATABASE_URL."
    )
    service_query_timeout_seconds: float = Field(
        0.3, gt=0, le=10, description="Maximum time of a look-up of scores in the database, in seconds."
    )
    service_job_max_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="Maximum size of the request body of an asynchronous prediction, in bytes.",
    )
    service_job_max_rows: int = Field(
        100_000, ge=1, description="Maximum number of rows of an asynchronous prediction."
    )
    service_job_queue_limit: int = Field(
        100, ge=1, description="Maximum number of queued and running jobs; further submissions get 503."
    )
    service_job_queue_limit_per_caller: int = Field(
        50, ge=1, description="Maximum number of queued and running jobs of one caller; further submissions get 429."
    )
    service_job_storage_limit: int = Field(
        10_000, ge=1, description="Maximum number of stored jobs, finished ones included; further submissions get 503."
    )
    service_job_storage_limit_per_caller: int = Field(
        1_000,
        ge=1,
        description="Maximum number of stored jobs of one caller, finished ones included; further submissions get 429.",
    )
    service_job_storage_bytes: int = Field(
        2 * 1024**3,
        ge=1024,
        description="Maximum size of all stored jobs, rows and predictions, in bytes; further submissions get 503.",
    )
    service_job_storage_bytes_per_caller: int = Field(
        512 * 1024**2,
        ge=1024,
        description="Maximum size of the stored jobs of one caller, rows and predictions, in bytes; further "
        "submissions get 429.",
    )
    service_job_hourly_bytes: int = Field(
        16 * 1024**3,
        ge=1024,
        description="Maximum size of all jobs submitted in an hour (UTC), deleted ones included, in bytes; further "
        "submissions get 503.",
    )
    service_job_hourly_bytes_per_caller: int = Field(
        4 * 1024**3,
        ge=1024,
        description="Maximum size of the jobs that one caller submits in an hour (UTC), deleted ones included, in "
        "bytes; further submissions get 429.",
    )
    service_job_ttl_hours: float = Field(
        24, gt=0, le=24 * 365, description="Time for which a job and its result are kept, in hours."
    )
    service_job_lease_seconds: float = Field(
        30, gt=0, le=3600, description="Seconds without progress after which another worker takes a job."
    )
    service_poll_seconds: float = Field(
        0.5, gt=0, le=60, description="Interval at which the service checks for new champions, in seconds."
    )
    service_pinned_versions: Mapping[str, Pin] = Field(
        default_factory=dict,
        description='Versions to serve instead of the champions, as a JSON object: model to {"version": 3, '
        '"artifact_digest": "<hex>"}.',
    )
    service_max_concurrency: int = Field(
        64, ge=1, le=1024, description="Maximum number of concurrent requests of a worker; further requests get 503."
    )
    service_max_concurrency_per_caller: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Maximum number of concurrent requests of one caller (sub of the token) on a worker; further "
        "requests get 429. Default: three quarters of SLUICE_SERVICE_MAX_CONCURRENCY.",
    )
    service_request_timeout_seconds: float = Field(
        30,
        gt=0,
        le=3600,
        description="Maximum time to receive and answer a request, in seconds; then its connection is closed.",
    )
    service_idle_timeout_seconds: float = Field(
        75,
        ge=0.5,
        description="Time without a complete request header after which a connection is closed, in seconds. More than "
        "a proxy in front keeps its idle connections (nginx: 60).",
    )
    service_max_connections: int = Field(
        1_000,
        ge=16,
        le=100_000,
        description="Number of connections of a worker beyond which idle ones are closed.",
    )
    service_max_connections_per_address: int = Field(
        200,
        ge=0,
        description="Number of connections of a worker from one address beyond which idle ones are closed; loopback "
        "addresses are exempt. Set 0 (no limit) if a proxy on another host forwards all requests.",
    )
    service_shutdown_timeout_seconds: int = Field(
        10, ge=1, le=3600, description="Seconds to finish in-flight requests after SIGTERM."
    )
    service_rate_limit: float = Field(
        0,
        ge=0,
        description="Maximum requests per second of one caller over all workers, each of which enforces its share. "
        "0: no limit.",
    )
    service_rate_limit_burst: int = Field(
        100,
        ge=1,
        description="Requests that a caller may send at once before the rate limit applies, over all workers.",
    )
    service_sample_rate: float = Field(
        0, ge=0, le=1, description="Share of predictions that are stored in sluice.prediction_log, with their features."
    )
    service_sample_days: int = Field(
        30, ge=1, description="Time for which sluice.prediction_log keeps a prediction, in days."
    )
    service_access_log: str = Field(
        "stdout",
        pattern="^(stdout|file|off)$",
        description="Where the service writes one line per request: stdout, file (logs/access.log) or off.",
    )
    service_access_log_bytes: int = Field(
        50_000_000, ge=10_000, description="Size at which logs/access.log is rotated, in bytes. Five files are kept."
    )
    service_access_log_payloads: bool = Field(False, description="Include features and predictions in the access log.")
    service_errors_include_values: bool = Field(False, description="Include rejected values in error messages.")
    service_log_level: str = Field(
        "info",
        pattern="^(info|debug)$",
        description="Log level of the service: info or debug, which adds stack traces.",
    )
    service_statsd_rate: float = Field(
        0.1, gt=0, le=1, description="Share of requests whose timings are sent to StatsD, if a server is set."
    )
    service_max_depth: int = Field(64, ge=4, le=512, description="Maximum nesting depth of a request's JSON.")
    service_cpu_affinity: bool = Field(
        True, description="Pin each worker to a separate core, if there are at least as many workers as cores."
    )
    service_fast_path: bool = Field(
        True,
        description="Answer predictions before Flask's dispatcher. With 0, Flask calls the same code.",
    )
    auth_secret: SecretStr | None = Field(
        None, description="Secret of at least 32 bytes that signs and verifies tokens (HS256)."
    )
    auth_public_key: Path | None = Field(
        None, description="PEM file of the public key that verifies tokens (RS256, ES256)."
    )
    auth_jwks_url: str | None = Field(
        None, description="URL of the issuer's JWK Set, whose keys rotate (RS256, ES256)."
    )
    auth_issuer: str = Field("sluice", description="Issuer (iss) that a token must name.")
    auth_audience: str = Field("sluice", description="Audience (aud) that a token must name.")
    auth_leeway_seconds: float = Field(
        10, ge=0, le=120, description="Maximum difference between the clocks of issuer and service, in seconds."
    )
    auth_invalid_token_rate_limit: float = Field(
        100,
        ge=0,
        description="Invalid tokens per second of one address that are verified, over all workers. 0: no limit.",
    )
    auth_jwks_cooldown_seconds: float = Field(
        30,
        ge=0,
        le=3600,
        description="Minimum interval between JWKS refreshes triggered by an unknown key ID, in seconds.",
    )
    auth_jwks_max_age_seconds: float = Field(
        3600,
        ge=300,
        le=7 * 86_400,
        description="Age up to which the keys of the JWK Set are used while the issuer cannot be read, in seconds.",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="Private Ed25519 key that signs artifacts: a PEM file, or its base64 line. Default, if "
        "SLUICE_TRUSTED_KEYS is not set either: a key pair under SLUICE_HOME.",
    )
    trusted_keys: str | None = Field(
        None,
        description="Public Ed25519 keys that verify artifacts: PEM files, or their base64 lines, separated by commas.",
    )
    airflow_port: int = Field(8080, ge=1, le=65535, description="Port of the Airflow UI that `make run` starts.")
    airflow_database_url: str | None = Field(
        None,
        description="Database URL of Airflow's own tables, which `sluice status` and `sluice watch` read. Default: the "
        "database airflow of the same server.",
    )
    airflow_url: str = Field("http://127.0.0.1:8080", description="URL of the Airflow UI in the links of alerts.")
    statsd_host: str | None = Field(None, description="Host of a StatsD server. Default: no metrics are sent.")
    statsd_port: int = Field(8125, ge=1, le=65535, description="UDP port of the StatsD server.")
    train_memory_mib: int = Field(
        8192,
        ge=512,
        description="Maximum estimated memory of a training, in MiB; a larger one fails before it starts.",
    )
    train_backend: Literal["loky", "threading", "dask", "ray"] | None = Field(
        None,
        description="joblib backend of an estimator's parallel parts: loky, threading, dask or ray. "
        "Default: joblib's choice.",
    )
    train_cluster_address: str | None = Field(
        None, description="Address of the cluster's scheduler: tcp://host:8786 for Dask, or Ray's address."
    )
    train_n_jobs: int = Field(
        -1,
        ge=-1,
        description="Number of parallel jobs of an estimator that declares none. -1: one per core.",
    )
    alert_channels: Mapping[str, str] = Field(
        default_factory=dict,
        description="Alert channels, as a JSON object: name to address. An address is an Apprise URL, or that of a "
        'webhook, PagerDuty or an Alertmanager. The channel "default" gets every alert.',
    )
    alert_severities: Mapping[str, tuple[Literal["page", "ticket"], ...]] = Field(
        default_factory=dict,
        description='Severities that a channel gets, as a JSON object: name to a list of "page" and "ticket". Default: '
        "both.",
    )
    watch_seconds: float = Field(
        10.0, ge=1, le=300, description="Time between two looks of `sluice watch`, in seconds."
    )
    watch_host: str = Field("127.0.0.1", description="Address on which `sluice watch` listens.")
    watch_port: int = Field(9102, ge=1, le=65535, description="Port of the metrics of `sluice watch`.")
    watch_statsd_port: int = Field(
        9125, ge=1, le=65535, description="UDP port on which `sluice watch` receives StatsD metrics."
    )
    watch_ping_url: str | None = Field(
        None,
        description="Ping URL of a check of healthchecks.io, or of a service with its protocol. `sluice watch` asks it "
        "for as long as it lives, so that a host that is dead is noticed. Default: nobody is told.",
    )
    watch_ping_seconds: float = Field(60.0, ge=10, le=3600, description="Time between two pings, in seconds.")
    sample_dates: Literal["shifted", "true"] = Field(
        "shifted",
        description="Dates of the sample flights: shifted, so that their year ends today, or true, as in 2013.",
    )

    @field_validator(
        "database_url", "trainer_database_url", "approver_database_url", "service_database_url", "airflow_database_url"
    )
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        fault = None if url is None else fault_of_database_url(url)
        if fault is not None:
            raise PydanticCustomError("database_url", "{fault}", {"fault": fault})
        return url

    @property
    def database_pool_size(self) -> int:
        """Maximum number of tasks that use the database at once: the slots of `DATABASE_POOL`."""
        return self.database_max_connections // CONNECTIONS_A_TASK

    @property
    def service_concurrency_of_a_caller(self) -> int:
        """Maximum number of concurrent requests of one caller on a worker."""
        limit = self.service_max_concurrency
        return min(limit, self.service_max_concurrency_per_caller or limit - limit // 4)

    def card_url(self, model: str, version: int) -> str:
        """Return the URL of a version's card in the Airflow UI."""
        return f"{self.airflow_url.rstrip('/')}/sluice/cards/{model}/{version}"

    def data_docs_url(self, model: str, run_id: str) -> str:
        """Return the URL of the Data Docs of a run in the Airflow UI."""
        return f"{self.airflow_url.rstrip('/')}/sluice/data_docs/{model}/{quote(run_id, safe='')}"

    @property
    def artifacts_dir(self) -> Path:
        """Folder of the registered artifacts when SLUICE_ARTIFACTS_URL is unset, ``<model>/<version>/``."""
        return self.home / "artifacts"

    @property
    def keys_dir(self) -> Path:
        """Folder of the embedded key pair."""
        return self.home / "keys"

    @property
    def work_dir(self) -> Path:
        """Folder of the files that runs pass between their tasks, ``<model>/<run>/``."""
        return self.home / "work"

    @property
    def docs_dir(self) -> Path:
        """Folder of the Data Docs."""
        return self.home / "data_docs"

    @property
    def log_dir(self) -> Path:
        """Folder of the logs."""
        return self.home / "logs"


def load_settings() -> Settings:
    """Read the environment.

    Raises
    ------
    SettingsError
        The message names the variable, the expected and the found value, which is left out if it may be secret.
    """
    for unknown, near in unknown_variables(os.environ, Settings.model_fields):
        meant = f"Is {near} meant? " if near else "docs/reference/settings.md lists all. "
        raise SettingsError(
            f"{unknown}: expected a variable that Sluice reads; found an unknown name. {meant}{_CORRECT}"
        )
    try:
        settings = Settings()
    except UnreadableSetting as error:
        # Its message ends with: error parsing value for field "<name>" from source "EnvSettingsSource"
        name = str(error).split('"')[1].upper()
        raise SettingsError(f"SLUICE_{name}: expected JSON; found something else. {_CORRECT}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        field = str(fault["loc"][0] if fault["loc"] else "?")
        found = "" if field in _SECRET else f"; found {str(fault['input'])[:100]!r}"
        raise SettingsError(f"SLUICE_{field.upper()}: {fault['msg']}{found}. {_CORRECT}") from None
    _check_folders(settings)
    return settings


def _check_folders(settings: Settings) -> None:
    """Refuse a folder that is a file, and a folder of models that does not exist."""
    for name, folder in (("SLUICE_HOME", settings.home), ("SLUICE_MODELS_DIR", settings.models_dir)):
        if folder.exists() and not folder.is_dir():
            raise SettingsError(f"{name}: expected a folder; found the file {folder}. {_CORRECT}")
    if not settings.models_dir.is_dir():
        raise SettingsError(
            f"SLUICE_MODELS_DIR: expected the folder of the model folders; found no {settings.models_dir}. {_CORRECT}"
        )


def worker_hostname() -> str:
    """Return `worker_name`, by default this machine's name: Airflow's ``hostname_callable``."""
    return load_settings().worker_name or socket.getfqdn()
