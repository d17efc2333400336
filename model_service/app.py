"""The Flask application: what it is made of."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import Engine

from include.registry import ArtifactStore, Ledger
from include.settings import Settings
from include.warehouse import open_engine
from model_service.guard import Guard, register_guard
from model_service.models import model_routes
from model_service.predict import predict_routes
from model_service.problems import register_problems
from model_service.scores import score_routes
from model_service.shelf import VersionShelf
from model_service.slots import ModelSlots
from model_service.versions import version_routes
from model_service.watcher import ChampionWatcher

# Reading only, and never waiting long: a worker answers one request at a time.
SESSION = "-c timezone=UTC -c default_transaction_read_only=on -c statement_timeout=2000"
FIRST_LOOK_SECONDS = 10


def create_app(settings: Settings, slots: ModelSlots, engine: Engine | None = None) -> Flask:
    """Return the service over `slots`, which somebody else fills.

    Parameters
    ----------
    settings : Settings
    slots : ModelSlots
        What predictions are answered from.
    engine : sqlalchemy.Engine, optional
        Where scores are looked up; by default the settings' database, if they name one.
    """
    if engine is None and settings.database_url is not None:
        engine = open_read_only(settings.database_url)
    app = Flask("model_service", static_folder=None)
    ledger = None if engine is None else Ledger(engine)
    shelf = VersionShelf(ledger, ArtifactStore(settings.artifacts_dir), settings.service_version_cache)
    register_guard(app, Guard(settings))
    app.register_blueprint(predict_routes(settings, slots, shelf))
    app.register_blueprint(model_routes(slots))
    app.register_blueprint(version_routes(slots, ledger))
    app.register_blueprint(score_routes(slots, engine))
    register_problems(app)
    return app


def open_read_only(url: str) -> Engine:
    """Return a small pool of read-only connections."""
    return open_engine(
        url,
        pool_size=2,
        max_overflow=2,
        pool_timeout=2,
        connect_args={"options": SESSION, "connect_timeout": 2, "application_name": "sluice service"},
    )


def serving_app(settings: Settings) -> Flask:
    """Return the service with a watcher that fills it. Call it in the worker, after the fork."""
    if settings.database_url is None:
        raise ValueError("settings.database_url must be resolved before a worker starts; found None")
    slots = ModelSlots()
    engine = open_read_only(settings.database_url)
    watcher = ChampionWatcher(
        slots,
        engine,
        artifacts_dir=settings.artifacts_dir,
        models_dir=settings.models_dir,
        poll_seconds=settings.service_poll_seconds,
    )
    watcher.start()
    # A worker that took requests before it has looked would answer 503 beside others that are ready.
    watcher.wait_for_first_look(FIRST_LOOK_SECONDS)
    return create_app(settings, slots, engine)
