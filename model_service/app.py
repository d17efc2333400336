"""The Flask application: what it is made of."""

from __future__ import annotations

from multiprocessing.util import Finalize
from pathlib import Path

from flask import Flask
from sqlalchemy import Engine

from include.registry import ArtifactStore, Ledger
from include.settings import Settings
from model_service.connections import open_jobs, open_notes, open_reader, open_scores
from model_service.door import DatabaseDoor
from model_service.express import Express
from model_service.guard import Guard, register_guard
from model_service.job_desk import JobDesk
from model_service.job_store import Served, TakenJob
from model_service.job_worker import JobWorker
from model_service.jobs import job_routes
from model_service.ledger_reads import LedgerReads
from model_service.limits import Turns
from model_service.models import model_routes
from model_service.observing import Observer, observer_for
from model_service.observing.routes import metric_routes
from model_service.oip import oip_routes
from model_service.openapi.routes import openapi_routes
from model_service.patience import watch_connections
from model_service.pinned import pinned_slots
from model_service.predict import predict_routes
from model_service.problems import register_problems
from model_service.scores import score_routes
from model_service.shelf import VersionShelf
from model_service.slots import LoadedModel, ModelSlots
from model_service.versions import version_routes
from model_service.watcher import ChampionWatcher

FIRST_LOOK_SECONDS = 10
PATIENCE_BEYOND = 0.3
JOB_SECONDS = 2.0
JOB_WORKER = "sluice.job_worker"
GUARD = "sluice.guard"


def create_app(
    settings: Settings, slots: ModelSlots, engine: Engine | None = None, observer: Observer | None = None
) -> Flask:
    """Return the service over `slots`, which somebody else fills.

    Parameters
    ----------
    settings : Settings
    slots : ModelSlots
        What predictions are answered from.
    engine : sqlalchemy.Engine, optional
        Where the ledger is read; by default the settings' database, if they name one.
    observer : Observer, optional
        Who notes requests; by default one of this process alone, which nobody has started.
    """
    url = settings.service_database_url or settings.database_url
    if engine is None and url is not None:
        engine = open_reader(url)
    app = Flask("model_service", static_folder=None)
    scores = _scores_door(settings, url)
    ledger = None if engine is None or scores is None else LedgerReads(Ledger(engine), scores)
    turns = Turns(settings.service_workers)
    shelf = VersionShelf(ledger, ArtifactStore.of(settings), settings.service_version_cache_size)
    if observer is None:
        observer = observer_for(settings, slots, None, None)
    guard = app.extensions[GUARD] = Guard(settings, observer, slots)
    register_guard(app, guard, settings.default_model)
    app.register_blueprint(metric_routes(observer))
    app.register_blueprint(predict_routes(settings, slots, shelf, turns))
    app.register_blueprint(model_routes(slots, guard))
    app.register_blueprint(version_routes(slots, ledger))
    app.register_blueprint(oip_routes(settings, slots, shelf, turns))
    app.register_blueprint(score_routes(settings, slots, scores))
    _add_jobs(app, settings, slots, shelf)
    app.register_blueprint(openapi_routes(settings, slots, guard))
    register_problems(app, values=settings.service_errors_include_values)
    if settings.service_fast_path:
        express = Express(app, guard, settings.default_model, values=settings.service_errors_include_values)
        app.wsgi_app = express  # type: ignore[method-assign]  # as Flask documents it
    return app


def _add_jobs(app: Flask, settings: Settings, slots: ModelSlots, shelf: VersionShelf) -> None:
    """Register the routes of jobs, and put the worker that `serving_app` starts into ``app.extensions``."""
    hours, most = settings.service_job_ttl_hours, settings.service_job_queue_limit
    if settings.database_url is None:
        app.register_blueprint(job_routes(settings, slots, JobDesk(None, hours=hours, most=most)))
        return
    engine = open_jobs(settings.database_url, JOB_SECONDS)
    worker = JobWorker(
        engine,
        lambda job: _bound(job, slots, shelf),
        lambda: _served(slots, pinned=bool(settings.service_pinned_versions)),
        lease_seconds=settings.service_job_lease_seconds,
        poll_seconds=settings.service_poll_seconds,
        values=settings.service_errors_include_values,
    )
    desk = JobDesk(DatabaseDoor(engine, patience=JOB_SECONDS + PATIENCE_BEYOND), hours=hours, most=most)
    app.register_blueprint(job_routes(settings, slots, desk, worker.ring))
    app.extensions[JOB_WORKER] = worker


def _bound(job: TakenJob, slots: ModelSlots, shelf: VersionShelf) -> LoadedModel:
    """Return what a job is bound to: by its artifact if that is what answers now, or else by its version."""
    slot = slots[job.model]
    current = slot.current
    if current is not None and current.artifact_digest == job.artifact_digest:
        return current
    return shelf.loaded(slot, str(job.version))


def _served(slots: ModelSlots, *, pinned: bool) -> Served:
    """Return whose jobs this process takes: those of models that answer here, and if pinned of the pins alone."""
    loaded = [slot.current for slot in slots if slot.current is not None]
    digests = [each.artifact_digest for each in loaded] if pinned else None
    return Served([each.model for each in loaded], digests)


def _scores_door(settings: Settings, url: str | None) -> DatabaseDoor | None:
    if url is None:
        return None
    seconds = settings.service_query_timeout_seconds
    # The server stops a slow statement by itself; the door's patience is for one that does not answer at all.
    return DatabaseDoor(open_scores(url, seconds), patience=seconds + PATIENCE_BEYOND)


def serving_app(settings: Settings, metrics_folder: Path | None = None) -> Flask:
    """Return the service with what fills it: a watcher, or the pins. Call it in the worker, after the fork.

    Parameters
    ----------
    settings : Settings
    metrics_folder : Path, optional
        Where the workers share their metrics.
    """
    url = settings.service_database_url or settings.database_url
    if url is None and not settings.service_pinned_versions:
        raise ValueError("settings.database_url must be resolved before a worker starts; found None")
    engine, notes = (None, None) if url is None else (open_reader(url), open_notes(url))
    slots = pinned_slots(settings) if settings.service_pinned_versions else ModelSlots()
    observer = observer_for(settings, slots, notes, metrics_folder)
    if engine is not None and not settings.service_pinned_versions:
        _follow_champions(settings, slots, engine, observer)
    app = create_app(settings, slots, engine, observer)
    observer.start()
    watch_connections(settings.service_port, settings.service_request_timeout_seconds, app.extensions[GUARD].in_flight)
    Finalize(None, observer.stop, exitpriority=10)  # what a worker noted last is written when it ends
    worker: JobWorker | None = app.extensions.get(JOB_WORKER)
    if worker is not None:
        worker.start()
        Finalize(None, worker.stop, exitpriority=20)  # another worker takes its job at once, not when the lease is over
    return app


def _follow_champions(settings: Settings, slots: ModelSlots, engine: Engine, observer: Observer) -> None:
    """Have a thread keep `slots` at the ledger's champions; return when it has looked once."""
    watcher = ChampionWatcher(
        slots,
        engine,
        witness=observer,
        artifacts=ArtifactStore.of(settings),
        models_dir=settings.models_dir,
        poll_seconds=settings.service_poll_seconds,
    )
    watcher.start()
    # A worker that took requests before it has looked would answer 503 beside others that are ready.
    watcher.wait_for_first_look(FIRST_LOOK_SECONDS)
