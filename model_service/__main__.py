"""``python -m model_service``: runs the service under granian until it is stopped."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from contextlib import nullcontext
from functools import partial
from importlib import import_module

from flask import Flask

from include.errors import SettingsError, SluiceError
from include.ports import try_bind
from include.settings import Settings, load_settings, unset_for_libraries
from include.warehouse import embedded_server
from model_service.app import serving_app
from model_service.auth import check_exposure
from model_service.observability.shared_metrics import SharedMetrics
from model_service.server.allocator import limit_malloc_arenas, limit_tcache, trim_heap
from model_service.server.cpu_affinity import CpuPinner
from model_service.server.descriptors import raise_descriptor_limit
from model_service.server.parent_death import ParentDeathPipe

log = logging.getLogger("model_service")

# Modules that workers need: imported before the fork, their memory is shared.
PRELOADED = (
    "model_service.observability.prometheus",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "encodings.idna",
)


def main() -> int:
    """Serve until SIGTERM or SIGINT; return 0 after a normal stop, 1 if the service could not run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s")
    try:
        settings = load_settings()
        log.setLevel(settings.service_log_level.upper())
        check_exposure(settings)
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
    return 0


def serve(settings: Settings) -> None:
    """Run the workers; return after they were stopped and have finished their requests."""
    limit_malloc_arenas()
    limit_tcache()
    raise_descriptor_limit()
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from model_service.server import granian_patch

    server = Granian(
        "model_service",
        address=settings.service_host,
        port=settings.service_port,
        interface=Interfaces.WSGI,
        # In HTTP/2 a connection that ends while its body is awaited keeps its place for good. See docs/security.md.
        http=HTTPModes.http1,
        # From the connection, or the last response, to the end of the header; in milliseconds.
        http1_settings=HTTP1Settings(header_read_timeout=round(1000 * settings.service_idle_timeout_seconds)),
        workers=settings.service_workers,
        # One more than the maximum concurrency: a thread must be free to refuse requests.
        blocking_threads=settings.service_max_concurrency + 1,
        blocking_threads_idle_timeout=5,  # each thread takes a third of a MiB
        respawn_failed_workers=True,
        workers_kill_timeout=settings.service_shutdown_timeout_seconds,
    )
    parent_death = ParentDeathPipe()
    pinner = CpuPinner(settings.service_workers if settings.service_cpu_affinity else 0)
    # With it, Prometheus's client would keep its values in mapped files, and a full disk would kill the workers.
    unset_for_libraries("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
    shared_metrics = SharedMetrics(settings.service_workers)
    for each in PRELOADED:
        import_module(each)

    def stop(*_: object) -> None:
        parent_death.close()
        server.signal_handler_interrupt()  # type: ignore[no-untyped-call]  # granian's is not annotated

    @server.on_startup
    def started() -> None:
        for each in (signal.SIGTERM, signal.SIGINT):  # granian has set its own just before
            signal.signal(each, stop)
        log.info(
            "listening on http://%s:%s with %s worker(s); the default model is '%s'",
            settings.service_host,
            settings.service_port,
            settings.service_workers,
            settings.default_model,
        )

    granian_patch.install()
    # Imported modules live as long as the process. If the garbage collector ignores them, it neither stops requests for
    # tens of milliseconds nor copies memory pages that workers share.
    gc.collect()
    gc.freeze()
    trim_heap()
    # Each worker creates its own application after the fork: threads and connections do not survive it.
    try:
        server.serve(
            target_loader=partial(_in_worker, settings, parent_death, pinner, shared_metrics), wrap_loader=False
        )
    except SystemExit:
        # Granian treats a worker as failed if it ended before granian stopped it.
        if not parent_death.is_closed:
            raise


def _in_worker(
    settings: Settings, parent_death: ParentDeathPipe, pinner: CpuPinner, shared_metrics: SharedMetrics
) -> Flask:
    pinner.pin()
    parent_death.watch()
    app = serving_app(settings, shared_metrics)
    gc.freeze()  # as in `serve`: these objects live as long as the worker
    return app


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
