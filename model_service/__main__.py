"""``python -m model_service``: runs the service under granian until it is stopped."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Final

from flask import Flask

from include.errors import UNUSABLE_FILE, SettingsError, SluiceError
from include.models import declared_models
from include.ports import try_bind
from include.settings import Settings, load_settings, unset_for_libraries
from include.warehouse import embedded_server
from model_service.app import UNREAD_BODIES, serving_app
from model_service.auth import check_exposure
from model_service.http.unread_body import MAX_UNREAD_BODIES, MAX_WAITING_BODIES
from model_service.observability.shared_metrics import SharedMetrics
from model_service.server.allocator import limit_malloc_arenas, limit_tcache, trim_heap
from model_service.server.cpu_affinity import CpuPinner
from model_service.server.descriptors import affordable_connections, raise_descriptor_limit
from model_service.server.shutdown import ParentDeathPipe, WorkerShutdown, on_stop_signal
from model_service.server.watchdog import Heartbeats

log = logging.getLogger("model_service")

MAX_HEADER_BYTES: Final = 65_536  # of a connection that sends no end of its header; granian's default: 417,792

SWITCH_INTERVAL_SECONDS: Final = 0.0005

# Modules that workers need: imported before the fork, their memory is shared.
PRELOADED = (
    "model_service.observability.prometheus",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "encodings.idna",
    "encodings.utf_8_sig",
    # Of declarations and of numpy: imported when a worker reads its first ones, they took a third of its start.
    "croniter",
    "numpy.ma",
    "numpy.random",
)


def main() -> int:
    """Serve until SIGTERM or SIGINT; return 0 after a normal stop, 1 if the service could not run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s")
    try:
        settings = load_settings()
        log.setLevel(settings.service_log_level.upper())
        settings = settings.model_copy(update={"service_host": _resolved(settings.service_host)})
        check_exposure(settings)
        _check_default_model(settings)
        _check_port(settings)
        url = settings.database_url
        # A pinned service needs no database, so it starts none.
        with (
            nullcontext(url)
            if url or settings.service_pinned_versions
            else embedded_server(settings.home) as database_url
        ):
            serve(settings.model_copy(update={"database_url": database_url}))
    except SluiceError as error:
        log.error("%s", error)  # noqa: TRY400  # the message is complete; a traceback would hide it
        return 1
    except OSError as error:
        if error.errno not in UNUSABLE_FILE or error.filename is None:
            raise
        log.error(  # noqa: TRY400  # as above
            "expected files under SLUICE_HOME that can be written; found: %s: %s. Correct the rights, free some space, "
            "or set SLUICE_HOME to another folder.",
            error.filename,
            error.strerror,
        )
        return 1
    return 0


def serve(settings: Settings) -> None:
    """Run the workers; return after they were stopped and have finished their requests."""
    limit_malloc_arenas()
    limit_tcache()
    raise_descriptor_limit()
    max_connections = affordable_connections(settings.service_max_connections)
    settings = settings.model_copy(update={"service_max_connections": max_connections})
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    server = Granian(
        "model_service",
        address=settings.service_host,
        port=settings.service_port,
        interface=Interfaces.WSGI,
        # In HTTP/2 a connection that ends while its body is awaited keeps its place for good. See docs/security.md.
        http=HTTPModes.http1,
        # From the connection, or the last response, to the end of the header; in milliseconds.
        http1_settings=HTTP1Settings(
            header_read_timeout=round(1000 * settings.service_idle_timeout_seconds), max_buffer_size=MAX_HEADER_BYTES
        ),
        # So many connections are accepted; some beyond the limit, until idle ones are closed.
        backpressure=max_connections + max_connections // 2,
        workers=settings.service_workers,
        # One more than can wait for bodies: a thread must be free to refuse requests.
        blocking_threads=settings.service_max_concurrency + MAX_UNREAD_BODIES + MAX_WAITING_BODIES + 1,
        blocking_threads_idle_timeout=5,  # each thread takes a third of a MiB
        respawn_failed_workers=True,
        workers_kill_timeout=settings.service_shutdown_timeout_seconds,
    )
    parent_death = ParentDeathPipe()
    pinner = CpuPinner(settings.service_workers if settings.service_cpu_affinity else 0)
    heartbeats = Heartbeats(settings.service_workers)
    # With it, Prometheus's client would keep its values in mapped files, and a full disk would kill the workers.
    unset_for_libraries("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
    shared_metrics = SharedMetrics(settings.service_workers)
    for each in PRELOADED:
        import_module(each)

    def stop() -> None:
        parent_death.close()
        server.signal_handler_interrupt()  # type: ignore[no-untyped-call]  # granian's is not annotated

    @server.on_startup
    def started() -> None:
        on_stop_signal(stop)  # granian has set its own handlers just before
        heartbeats.watch(lambda: [getattr(each.inner, "pid", 0) for each in server.wrks])
        log.info(
            "listening on http://%s:%s with %s worker(s); the default model is '%s'",
            settings.service_host,
            settings.service_port,
            settings.service_workers,
            settings.default_model,
        )

    # Imported modules live as long as the process. If the garbage collector ignores them, it neither stops requests for
    # tens of milliseconds nor copies memory pages that workers share.
    gc.collect()
    gc.freeze()
    trim_heap()
    # Each worker creates its own application after the fork: threads and connections do not survive it.
    try:
        server.serve(
            target_loader=partial(_in_worker, settings, parent_death, pinner, shared_metrics, heartbeats),
            wrap_loader=False,
        )
    except SystemExit:
        # Granian treats a worker as failed if it ended before granian stopped it.
        if not parent_death.is_closed:
            raise


def _in_worker(
    settings: Settings,
    parent_death: ParentDeathPipe,
    pinner: CpuPinner,
    shared_metrics: SharedMetrics,
    heartbeats: Heartbeats,
) -> Flask:
    from model_service.server import granian_patch

    pinner.pin()
    # A thread with a large body gives way to those with small ones after this, instead of after 5 ms.
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    granian_patch.install_shutdown(WorkerShutdown(parent_death))
    app = serving_app(settings, shared_metrics, heartbeats)
    granian_patch.install(app.extensions[UNREAD_BODIES].discard)
    gc.freeze()  # as in `serve`: these objects live as long as the worker
    return app


def _resolved(host: str) -> str:
    """Return the address of `host`, preferably of IPv4: granian takes no names."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"SLUICE_SERVICE_HOST: expected an address of this machine, such as 127.0.0.1 or 0.0.0.0, or a name of it; "
            f"found {host[:100]!r} ({getattr(error, 'strerror', None) or 'no host name'}). Correct the variable."
        ) from error
    addresses = {family: str(address[0]) for family, *_, address in reversed(found)}
    return addresses.get(socket.AF_INET) or addresses[socket.AF_INET6]


def _check_default_model(settings: Settings) -> None:
    """Refuse a default model that is set and neither declared nor pinned: every POST /predict would be answered 404."""
    if "default_model" not in settings.model_fields_set:
        return
    declared = declared_models(settings.models_dir)
    names = {*declared.specs, *(error.file.parent.name for error in declared.broken)}
    known = sorted(settings.service_pinned_versions or names)
    if settings.default_model not in known:
        near = get_close_matches(settings.default_model, known, n=1)
        meant = f"Is {near[0]!r} meant? " if near else ""
        raise SettingsError(
            f"SLUICE_DEFAULT_MODEL: expected one of {', '.join(known) or '(no model is declared)'}; found "
            f"{settings.default_model[:100]!r}. {meant}Correct or unset the variable."
        )


def _check_port(settings: Settings) -> None:
    """Refuse a port that is in use: granian shares ports, so two services would share requests."""
    try:
        try_bind(settings.service_port, settings.service_host)
    except OSError as error:
        raise SettingsError(
            f"SLUICE_SERVICE_PORT: the service cannot listen on {settings.service_host}:{settings.service_port}: "
            f"{error.strerror}. Set SLUICE_SERVICE_PORT to a free port, or stop the process that listens there."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
