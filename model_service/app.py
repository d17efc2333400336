"""The Flask application: what it is made of."""

from __future__ import annotations

from multiprocessing.util import Finalize
from pathlib import Path

from flask import Flask
from sqlalchemy import Engine

from include.registry import Ledger, open_artifact_store
from include.settings import Settings
from model_service.db.connections import open_jobs, open_notes, open_reader, open_scores
from model_service.db.executor import QueryExecutor
from model_service.db.ledger_reads import LedgerReads
from model_service.http.fast_path import FastPathMiddleware
from model_service.http.limits import LargeBodySemaphore
from model_service.http.middleware import RequestMiddleware, register_middleware
from model_service.http.problems import register_problems
from model_service.jobs.repository import ClaimedJob, JobFilter
from model_service.jobs.service import JobService
from model_service.jobs.worker import JobWorker
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.pinned import pinned_registry
from model_service.models.registry import LoadedModel, ModelRegistry
from model_service.models.version_cache import VersionCache
from model_service.observability import RequestRecorder, build_recorder
from model_service.oip import oip_routes
from model_service.routes.jobs import job_routes
from model_service.routes.metrics import metrics_routes
from model_service.routes.models import model_routes
from model_service.routes.openapi import openapi_routes
from model_service.routes.predict import predict_routes
from model_service.routes.scores import score_routes
from model_service.routes.versions import version_routes
from model_service.server.request_timeout import start_request_timeout

FIRST_POLL_SECONDS = 10
TIMEOUT_MARGIN = 0.3
JOB_SECONDS = 2.0
JOB_WORKER = "sluice.job_worker"
MIDDLEWARE = "sluice.middleware"


def create_app(
    settings: Settings, registry: ModelRegistry, engine: Engine | None = None, recorder: RequestRecorder | None = None
) -> Flask:
    """Return the service over `registry`, which somebody else fills.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
        What predictions are answered from.
    engine : sqlalchemy.Engine, optional
        Where the ledger is read; by default the settings' database, if they name one.
    recorder : RequestRecorder, optional
        Who notes requests; by default one of this process alone, which nobody has started.
    """
    url = settings.service_database_url or settings.database_url
    if engine is None and url is not None:
        engine = open_reader(url)
    app = Flask("model_service", static_folder=None)
    scores = _scores_executor(settings, url)
    ledger = None if engine is None or scores is None else LedgerReads(Ledger(engine), scores)
    large_bodies = LargeBodySemaphore(settings.service_workers)
    version_cache = VersionCache(ledger, open_artifact_store(settings), settings.service_version_cache_size)
    if recorder is None:
        recorder = build_recorder(settings, registry, None, None)
    middleware = app.extensions[MIDDLEWARE] = RequestMiddleware(settings, recorder, registry)
    register_middleware(app, middleware, settings.default_model)
    app.register_blueprint(metrics_routes(recorder))
    app.register_blueprint(predict_routes(settings, registry, version_cache, large_bodies))
    app.register_blueprint(model_routes(registry, middleware))
    app.register_blueprint(version_routes(registry, ledger))
    app.register_blueprint(oip_routes(settings, registry, version_cache, large_bodies))
    app.register_blueprint(score_routes(settings, registry, scores))
    _add_jobs(app, settings, registry, version_cache)
    app.register_blueprint(openapi_routes(settings, registry, middleware))
    register_problems(app, values=settings.service_errors_include_values)
    if settings.service_fast_path:
        fast_path = FastPathMiddleware(
            app, middleware, settings.default_model, values=settings.service_errors_include_values
        )
        app.wsgi_app = fast_path  # type: ignore[method-assign]  # as Flask documents it
    return app


def _add_jobs(app: Flask, settings: Settings, registry: ModelRegistry, version_cache: VersionCache) -> None:
    """Register the routes of jobs, and put the worker that `serving_app` starts into ``app.extensions``."""
    hours, most = settings.service_job_ttl_hours, settings.service_job_queue_limit
    if settings.database_url is None:
        app.register_blueprint(job_routes(settings, registry, JobService(None, hours=hours, most=most)))
        return
    engine = open_jobs(settings.database_url, JOB_SECONDS)
    worker = JobWorker(
        engine,
        lambda job: _bound(job, registry, version_cache),
        lambda: _job_filter(registry, pinned=bool(settings.service_pinned_versions)),
        lease_seconds=settings.service_job_lease_seconds,
        poll_seconds=settings.service_poll_seconds,
        values=settings.service_errors_include_values,
    )
    job_service = JobService(QueryExecutor(engine, timeout=JOB_SECONDS + TIMEOUT_MARGIN), hours=hours, most=most)
    app.register_blueprint(job_routes(settings, registry, job_service, worker.notify))
    app.extensions[JOB_WORKER] = worker


def _bound(job: ClaimedJob, registry: ModelRegistry, version_cache: VersionCache) -> LoadedModel:
    """Return what a job is bound to: by its artifact if that is what answers now, or else by its version."""
    served = registry[job.model]
    current = served.current
    if current is not None and current.artifact_digest == job.artifact_digest:
        return current
    return version_cache.get(served, str(job.version))


def _job_filter(registry: ModelRegistry, *, pinned: bool) -> JobFilter:
    """Return whose jobs this process takes: those of models that answer here, and if pinned of the pins alone."""
    loaded = [served.current for served in registry if served.current is not None]
    digests = [each.artifact_digest for each in loaded] if pinned else None
    return JobFilter([each.model for each in loaded], digests)


def _scores_executor(settings: Settings, url: str | None) -> QueryExecutor | None:
    if url is None:
        return None
    seconds = settings.service_query_timeout_seconds
    # The server stops a slow statement by itself; the executor's patience is for one that does not answer at all.
    return QueryExecutor(open_scores(url, seconds), timeout=seconds + TIMEOUT_MARGIN)


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
    registry = pinned_registry(settings) if settings.service_pinned_versions else ModelRegistry()
    recorder = build_recorder(settings, registry, notes, metrics_folder)
    if engine is not None and not settings.service_pinned_versions:
        _start_watcher(settings, registry, engine, recorder)
    app = create_app(settings, registry, engine, recorder)
    recorder.start()
    start_request_timeout(
        settings.service_port, settings.service_request_timeout_seconds, app.extensions[MIDDLEWARE].in_flight
    )
    Finalize(None, recorder.stop, exitpriority=10)  # what a worker noted last is written when it ends
    worker: JobWorker | None = app.extensions.get(JOB_WORKER)
    if worker is not None:
        worker.start()
        Finalize(None, worker.stop, exitpriority=20)  # another worker takes its job at once, not when the lease is over
    return app


def _start_watcher(settings: Settings, registry: ModelRegistry, engine: Engine, recorder: RequestRecorder) -> None:
    """Have a thread keep `registry` at the ledger's champions; return when it has looked once."""
    watcher = ChampionWatcher(
        registry,
        engine,
        listener=recorder,
        artifacts=open_artifact_store(settings),
        models_dir=settings.models_dir,
        poll_seconds=settings.service_poll_seconds,
    )
    watcher.start()
    # A worker that took requests before it has looked would answer 503 beside others that are ready.
    watcher.wait_ready(FIRST_POLL_SECONDS)
