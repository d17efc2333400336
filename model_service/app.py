"""Creates the Flask application and the threads of a worker."""

from __future__ import annotations

from functools import partial
from multiprocessing.util import Finalize

from flask import Flask, request
from sqlalchemy import Engine
from werkzeug.exceptions import BadRequest, NotFound

from include.registry import open_artifact_store
from include.settings import Settings
from model_service.auth import BearerAuthenticator, build_authenticator, open_scopes
from model_service.db.connections import open_jobs, open_log_writer, open_reader, open_scores
from model_service.db.executor import QueryExecutor
from model_service.http.fast_path import FastPathMiddleware
from model_service.http.limits import LargeBodySemaphore
from model_service.http.middleware import RequestMiddleware, register_middleware
from model_service.http.problems import register_problems, timeout_response
from model_service.http.unread_body import UnreadBodies
from model_service.jobs.quotas import quotas_of
from model_service.jobs.repository import ClaimedJob, JobFilter
from model_service.jobs.service import JobService
from model_service.jobs.worker import JobWorker
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.pinned import pinned_registry
from model_service.models.registry import LoadedModel, ModelRegistry
from model_service.models.version_cache import VersionCache
from model_service.observability import RequestRecorder, build_recorder
from model_service.observability.shared_metrics import SharedMetrics
from model_service.routes.health import health_routes
from model_service.routes.jobs import job_routes
from model_service.routes.metrics import metrics_routes
from model_service.routes.models import model_routes
from model_service.routes.oip import oip_routes
from model_service.routes.openapi import openapi_routes
from model_service.routes.predict import predict_routes
from model_service.routes.scores import score_routes
from model_service.routes.versions import version_routes
from model_service.server.connections import ConnectionPruner, start_connection_limits
from model_service.server.request_timeout import start_request_timeout
from model_service.server.watchdog import STUCK_MARGIN_SECONDS, Heartbeats

FIRST_POLL_SECONDS = 10
TIMEOUT_MARGIN = 0.3
JOB_SECONDS = 2.0
JOB_WORKER = "sluice.job_worker"
MIDDLEWARE = "sluice.middleware"
UNREAD_BODIES = "sluice.unread_bodies"
AUTHENTICATOR = "sluice.authenticator"


def create_app(
    settings: Settings, registry: ModelRegistry, engine: Engine | None = None, recorder: RequestRecorder | None = None
) -> Flask:
    """Return the service for the models in `registry`, which the caller fills.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
        The loaded models.
    engine : sqlalchemy.Engine, optional
        Reads the ledger; by default, the database in the settings, if there is one.
    recorder : RequestRecorder, optional
        Records requests; by default, one for this process alone, without threads.
    """
    url = settings.service_database_url or settings.database_url
    if engine is None and url is not None:
        engine = open_reader(url)
    app = Flask("model_service", static_folder=None)
    # A path with // is another path, so it is answered 404. A redirection would name the host that the caller names.
    app.url_map.merge_slashes = False
    reader = None if url is None else _reader(settings, url, engine)
    large_bodies = LargeBodySemaphore(settings.service_workers)
    version_cache = VersionCache(
        reader, open_artifact_store(settings), settings.service_version_cache_size, registry.unknown_categories
    )
    recorder = recorder or build_recorder(settings, registry, None, None)
    authenticator = app.extensions[AUTHENTICATOR] = build_authenticator(settings)
    middleware = app.extensions[MIDDLEWARE] = RequestMiddleware(
        settings, recorder, registry, authenticator, open_scopes(settings)
    )
    register_middleware(app, middleware, settings.default_model)
    app.before_request(_check_target)
    app.extensions[UNREAD_BODIES] = UnreadBodies()
    job_service, job_worker = _jobs(settings, registry, version_cache)
    if job_worker is not None:
        app.extensions[JOB_WORKER] = job_worker  # `serving_app` starts it
    notify = (lambda: None) if job_worker is None else job_worker.notify
    for routes in (
        health_routes(registry, middleware),
        metrics_routes(recorder),
        predict_routes(settings, registry, version_cache, large_bodies),
        model_routes(registry),
        version_routes(registry, reader),
        oip_routes(settings, registry, version_cache, large_bodies),
        score_routes(settings, registry, reader),
        job_routes(settings, registry, job_service, large_bodies, notify),
        openapi_routes(settings, registry, middleware),
    ):
        app.register_blueprint(routes)
    register_problems(app, values=settings.service_errors_include_values)
    if settings.service_fast_path:
        fast_path = FastPathMiddleware(
            app, middleware, settings.default_model, values=settings.service_errors_include_values
        )
        app.wsgi_app = fast_path  # type: ignore[method-assign]  # as Flask documents it
    return app


def _check_target() -> None:
    """Answer a path that begins with // with 404, and a query that is not percent-encoded with 400.

    Flask's router takes the first for another path, and its parser of queries fails at the second.
    """
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound
    if not request.environ.get("QUERY_STRING", "").isascii():
        raise BadRequest("The query has bytes that are not ASCII. Percent-encode them as UTF-8.")


def _reader(settings: Settings, url: str, ledger_engine: Engine | None) -> QueryExecutor:
    seconds = settings.service_query_timeout_seconds
    # The server cancels a slow statement itself. The executor's timeout is for a server that does not respond at all.
    return QueryExecutor(open_scores(url, seconds), timeout=seconds + TIMEOUT_MARGIN, ledger_engine=ledger_engine)


def _jobs(
    settings: Settings, registry: ModelRegistry, version_cache: VersionCache
) -> tuple[JobService, JobWorker | None]:
    """Return the service of jobs and their worker; without a database there is no worker, and the service refuses."""
    hours, quotas = settings.service_job_ttl_hours, quotas_of(settings)
    if settings.database_url is None:
        return JobService(None, ttl_hours=hours, quotas=quotas), None
    engine = open_jobs(settings.database_url, JOB_SECONDS)
    executor = QueryExecutor(engine, timeout=JOB_SECONDS + TIMEOUT_MARGIN)
    worker = JobWorker(
        engine,
        lambda job: _version_of(job, registry, version_cache),
        lambda: _job_filter(registry, pinned=bool(settings.service_pinned_versions)),
        lease_seconds=settings.service_job_lease_seconds,
        poll_seconds=settings.service_poll_seconds,
        values=settings.service_errors_include_values,
    )
    return JobService(executor, ttl_hours=hours, quotas=quotas), worker


def _version_of(job: ClaimedJob, registry: ModelRegistry, version_cache: VersionCache) -> LoadedModel:
    """Return the version of a job: the current one if it has the job's artifact, or else the one with its number."""
    served = registry[job.model]
    current = served.current
    if current is not None and current.artifact_digest == job.artifact_digest:
        return current
    return version_cache.get(served, str(job.version))


def _job_filter(registry: ModelRegistry, *, pinned: bool) -> JobFilter:
    """Return which jobs this process accepts: those of loaded models; if pinned, only of the pinned artifacts."""
    loaded = [served.current for served in registry if served.current is not None]
    digests = [each.artifact_digest for each in loaded] if pinned else None
    return JobFilter([each.model for each in loaded], digests)


def serving_app(
    settings: Settings, shared_metrics: SharedMetrics | None = None, heartbeats: Heartbeats | None = None
) -> Flask:
    """Return the service with its threads. Call it in the worker, after the fork.

    Parameters
    ----------
    settings : Settings
    shared_metrics : SharedMetrics, optional
        Where the workers share their metrics.
    heartbeats : Heartbeats, optional
        Where the main process sees that this worker can answer.
    """
    url = settings.service_database_url or settings.database_url
    if url is None and not settings.service_pinned_versions:
        raise ValueError("settings.database_url must be resolved before a worker starts; found None")
    engine, log_writer = (None, None) if url is None else (open_reader(url), open_log_writer(url))
    registry = pinned_registry(settings) if settings.service_pinned_versions else ModelRegistry()
    recorder = build_recorder(settings, registry, log_writer, shared_metrics)
    if engine is not None and not settings.service_pinned_versions:
        _start_watcher(settings, registry, engine, recorder)
    app = create_app(settings, registry, engine, recorder)
    recorder.start()
    authenticator: BearerAuthenticator | None = app.extensions[AUTHENTICATOR]
    if authenticator is not None:
        authenticator.start()  # as with the watcher: the first requests should not have to wait, nor be refused
    seconds = settings.service_request_timeout_seconds
    middleware: RequestMiddleware = app.extensions[MIDDLEWARE]
    respond = partial(timeout_response, seconds)
    unread_bodies: UnreadBodies = app.extensions[UNREAD_BODIES]
    start_request_timeout(settings.service_port, seconds, middleware.concurrency, unread_bodies.concurrency, respond)
    _limit_connections(settings, recorder)
    if heartbeats is not None:
        longest = seconds + STUCK_MARGIN_SECONDS
        heartbeats.start(
            lambda: middleware.concurrency.is_stuck(longest),
            lambda reason: recorder.prometheus.worker_restarts.labels(reason).inc(),
        )
    Finalize(None, recorder.stop, exitpriority=10)  # writes the last records when the worker ends
    job_worker: JobWorker | None = app.extensions.get(JOB_WORKER)
    if job_worker is not None:
        job_worker.start()
        # Another worker can then claim the job immediately, not only when its lease has expired.
        Finalize(None, job_worker.stop, exitpriority=20)
    return app


def _limit_connections(settings: Settings, recorder: RequestRecorder) -> None:
    """Start the thread that closes idle connections beyond the limits."""
    limit = settings.service_max_connections
    pruner = ConnectionPruner(
        settings.service_port,
        limit,
        settings.service_max_connections_per_address,
        settings.service_request_timeout_seconds,
        lambda reason, count: recorder.prometheus.closed_connections.labels(reason).inc(count),
    )
    start_connection_limits(pruner, limit, recorder.prometheus.connections.set)


def _start_watcher(settings: Settings, registry: ModelRegistry, engine: Engine, recorder: RequestRecorder) -> None:
    """Start the thread that keeps `registry` at the champions of the ledger, and wait for its first poll."""
    watcher = ChampionWatcher(
        registry,
        engine,
        listener=recorder,
        artifacts=open_artifact_store(settings),
        models_dir=settings.models_dir,
        poll_seconds=settings.service_poll_seconds,
    )
    watcher.start()
    # A worker that accepted requests before its first poll would answer 503 beside others that are ready.
    watcher.wait_ready(FIRST_POLL_SECONDS)
