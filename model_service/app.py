"""The Flask application: what it is made of."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import Engine

from include.registry import ArtifactStore, Ledger
from include.settings import Settings
from model_service.connections import open_reader, open_scores
from model_service.door import DatabaseDoor
from model_service.guard import Guard, register_guard
from model_service.models import model_routes
from model_service.predict import predict_routes
from model_service.problems import register_problems
from model_service.scores import score_routes
from model_service.shelf import VersionShelf
from model_service.slots import ModelSlots
from model_service.versions import version_routes
from model_service.watcher import ChampionWatcher

FIRST_LOOK_SECONDS = 10
PATIENCE_BEYOND = 0.3


def create_app(settings: Settings, slots: ModelSlots, engine: Engine | None = None) -> Flask:
    """Return the service over `slots`, which somebody else fills.

    Parameters
    ----------
    settings : Settings
    slots : ModelSlots
        What predictions are answered from.
    engine : sqlalchemy.Engine, optional
        Where the ledger is read; by default the settings' database, if they name one.
    """
    url = settings.service_database_url or settings.database_url
    if engine is None and url is not None:
        engine = open_reader(url)
    app = Flask("model_service", static_folder=None)
    ledger = None if engine is None else Ledger(engine)
    shelf = VersionShelf(ledger, ArtifactStore(settings.artifacts_dir), settings.service_version_cache)
    register_guard(app, Guard(settings), settings.default_model)
    app.register_blueprint(predict_routes(settings, slots, shelf))
    app.register_blueprint(model_routes(slots))
    app.register_blueprint(version_routes(slots, ledger))
    app.register_blueprint(score_routes(settings, slots, _scores_door(settings, url)))
    register_problems(app)
    return app


def _scores_door(settings: Settings, url: str | None) -> DatabaseDoor | None:
    if url is None:
        return None
    seconds = settings.service_read_seconds
    # The server stops a slow statement by itself; the door's patience is for one that does not answer at all.
    return DatabaseDoor(open_scores(url, seconds), patience=seconds + PATIENCE_BEYOND)


def serving_app(settings: Settings) -> Flask:
    """Return the service with a watcher that fills it. Call it in the worker, after the fork."""
    if settings.database_url is None:
        raise ValueError("settings.database_url must be resolved before a worker starts; found None")
    slots = ModelSlots()
    engine = open_reader(settings.service_database_url or settings.database_url)
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
