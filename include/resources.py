"""What the steps of the pipeline work with, opened once and passed in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from include.alerting import AlertDispatcher
from include.registry import ArtifactStore, Ledger, open_artifact_store
from include.settings import Settings, load_settings
from include.telemetry import Telemetry
from include.warehouse import embedded_server, migrate, open_engine


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything outside: database, artifacts, channels, clock."""

    settings: Settings
    database_url: str
    engine: Engine
    ledger: Ledger
    artifacts: ArtifactStore
    alerts: AlertDispatcher
    telemetry: Telemetry
    clock: Callable[[], datetime]


def open_trainer_resources() -> contextlib.AbstractContextManager[Resources]:
    """Open what the steps of retraining need, under the role that cannot promote what nobody approved.

    That is ``SLUICE_TRAINER_DATABASE_URL``'s; unset, everybody's.
    """
    settings = load_settings()
    url = settings.trainer_database_url or settings.database_url
    return open_resources(settings.model_copy(update={"database_url": url}))


@contextlib.contextmanager
def open_resources(settings: Settings | None = None) -> Iterator[Resources]:
    """Open what the steps need; close it in the end.

    With no database URL set, the embedded server is used: found running, or started, brought up to
    date, and stopped in the end.

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
            ledger=Ledger(engine),
            artifacts=open_artifact_store(settings),
            alerts=AlertDispatcher(engine, settings, settings.log_dir / "alerts.log"),
            telemetry=telemetry,
            clock=lambda: datetime.now(UTC),
        )
