"""The resources of the pipeline's steps, opened once and passed in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from include.alerting import AlertDispatcher
from include.progress import LoggedProgress, Progress
from include.registry import ArtifactStore, Ledger, open_artifact_store
from include.settings import Settings, load_settings
from include.telemetry import Telemetry
from include.warehouse import embedded_server, migrate, open_engine
from include.warehouse.feature_source import FeatureSource, PostgresFeatureSource


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything outside the process that the steps work with.

    Attributes
    ----------
    features : FeatureSource
        Where the models' rows are read from.
    progress : Progress
        Where steps report how far they are; by default the log.
    """

    settings: Settings
    database_url: str
    engine: Engine
    features: FeatureSource
    ledger: Ledger
    artifacts: ArtifactStore
    alerts: AlertDispatcher
    telemetry: Telemetry
    clock: Callable[[], datetime]
    progress: Progress = field(default_factory=LoggedProgress)


def open_trainer_resources() -> contextlib.AbstractContextManager[Resources]:
    """Open the resources of a retrain, with a role that cannot promote an unapproved version.

    Its database URL is ``SLUICE_TRAINER_DATABASE_URL``; by default ``SLUICE_DATABASE_URL``.
    """
    settings = load_settings()
    url = settings.trainer_database_url or settings.database_url
    return open_resources(settings.model_copy(update={"database_url": url}))


@contextlib.contextmanager
def open_resources(settings: Settings | None = None) -> Iterator[Resources]:
    """Open the resources of the steps; close them at the end.

    Without a database URL the embedded server is used. It is started unless it is running, migrated, and stopped at the
    end.

    Parameters
    ----------
    settings : Settings, optional
        Read from the environment by default.
    """
    settings = settings or load_settings()
    with contextlib.ExitStack() as stack:
        url = settings.database_url
        if url is None:
            url = stack.enter_context(embedded_server(settings.home))
            migrate(url)
        engine = open_engine(url, pool_size=2, max_overflow=1)  # see CONNECTIONS_A_TASK
        stack.callback(engine.dispose)
        telemetry = Telemetry(settings.statsd_host, settings.statsd_port)
        stack.callback(telemetry.close)
        yield Resources(
            settings=settings,
            database_url=url,
            engine=engine,
            features=PostgresFeatureSource(url),
            ledger=Ledger(engine),
            artifacts=open_artifact_store(settings),
            alerts=AlertDispatcher(engine, settings, settings.log_dir / "alerts.log"),
            telemetry=telemetry,
            clock=lambda: datetime.now(UTC),
        )
