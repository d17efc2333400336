"""``sluice watch``: the process that finds what is missing, late or dead, and alerts; its metrics are at /metrics."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy.exc import SQLAlchemyError

from include.cli.output import show
from include.errors import SettingsError
from include.models import DeclaredModels, declared_models
from include.observability import (
    StatsdReceiver,
    database_metrics,
    disk_metrics,
    heartbeat_metrics,
    ledger_metrics,
    read_mapping,
    render,
)
from include.resources import Resources
from include.settings import Settings
from include.steps.watch import open_airflow_engine
from include.steps.watcher import Look, Watcher

log = logging.getLogger("include.watch")

_REQUEST_SECONDS: Final = 5


def watch(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Look again and again until SIGTERM or SIGINT; with ``--once``, look once and print what is wrong."""
    airflow = open_airflow_engine(resources.settings, resources.database_url)
    try:
        watcher = Watcher(resources.settings, resources.engine, airflow, resources.clock)
        if arguments.once:
            look = watcher.look()
            show(arguments, {"at": look.at, "problems": look.problems}, _lines(look))
            return 0
        return _run(watcher, resources)
    finally:
        airflow.dispose()


def _run(watcher: Watcher, resources: Resources) -> int:
    settings = resources.settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    receiver = StatsdReceiver(read_mapping())
    page = _Page(resources, receiver)
    with _statsd(settings, receiver, stop), _http(settings, page.render):
        log.info(
            "looks every %s s; metrics at http://%s:%s/metrics; StatsD is received on UDP port %s",
            settings.watch_seconds,
            settings.watch_host,
            settings.watch_port,
            settings.watch_statsd_port,
        )
        watcher.run(stop, settings.watch_seconds, page.remember)
    log.info("stopped")
    return 0


def _lines(look: Look) -> Iterator[str]:
    if not look.problems:
        yield "Nothing is wrong."
    for each in look.problems:
        yield f"[{each.severity}] {each.kind} {each.model or '-'}: {each.summary}"
        if each.next_step:
            yield f"    {each.next_step}"


class _Page:
    """What ``GET /metrics`` answers: what the last look found, and the state of the ledger at this moment."""

    def __init__(self, resources: Resources, receiver: StatsdReceiver) -> None:
        self._resources, self._receiver = resources, receiver
        self._look: Look | None = None

    def remember(self, look: Look) -> None:
        """Keep the last look, and log what it changed."""
        self._look = look
        for incident in look.changed:
            state = f"resolved: {incident.resolution}" if incident.resolved_at else f"{incident.severity}, opened"
            log.info("incident %s (%s %s) %s", incident.id, incident.kind, incident.model or "-", state)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its media type."""
        return render(self._metrics(), accept)

    def _metrics(self) -> Iterator[Metric]:
        resources = self._resources
        try:
            specs = declared_models(resources.settings.models_dir).specs
            with resources.engine.connect() as connection:
                yield from ledger_metrics(connection, resources.clock(), specs)
            yield from database_metrics(reachable=True)
        except SQLAlchemyError:
            yield from database_metrics(reachable=False)
        yield from disk_metrics(resources.settings.home)
        if self._look is not None:
            yield from heartbeat_metrics(self._look.at)
            yield _problems(self._look)
        yield from self._receiver.collect()


def _problems(look: Look) -> Metric:
    gauge = GaugeMetricFamily(
        "sluice_watch_problems",
        "What the last look of the watcher found, by kind, model and severity.",
        labels=("kind", "model", "severity"),
    )
    counts = Counter((each.kind, each.model or "", str(each.severity)) for each in look.problems)
    for labels, count in counts.items():
        gauge.add_metric(labels, count)
    return gauge


@contextmanager
def _statsd(settings: Settings, receiver: StatsdReceiver, stop: threading.Event) -> Iterator[None]:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        _bind(server, settings.watch_host, settings.watch_statsd_port, "SLUICE_WATCH_STATSD_PORT")
        thread = threading.Thread(target=receiver.serve, args=(server, stop), name="statsd", daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join(_REQUEST_SECONDS)


def _bind(server: socket.socket, host: str, port: int, setting: str) -> None:
    try:
        server.bind((host, port))
    except OSError as error:
        raise SettingsError(
            f"{setting}: expected a port that is free on {host}; found {port}: {error.strerror}. Stop what uses it, or "
            "set the variable to another port."
        ) from error


@contextmanager
def _http(settings: Settings, page: Callable[[str], tuple[bytes, str]]) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS  # of a client that sends nothing

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body, media_type = page(self.headers.get("Accept", ""))
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the log for what matters."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            log.warning("a request for metrics failed: %s", sys.exc_info()[1])

    try:
        server = Server((settings.watch_host, settings.watch_port), Handler)
    except OSError as error:
        raise SettingsError(
            f"SLUICE_WATCH_PORT: expected a port that is free on {settings.watch_host}; found {settings.watch_port}: "
            f"{error.strerror}. Stop what uses it, or set the variable to another port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
