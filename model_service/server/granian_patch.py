"""Replaces two functions of granian: its call of the WSGI application, and its handling of signals in workers.

The call is the same, but without the environment variables of the process. granian copies all of them into the WSGI
environment of each request, as CGI did. That takes three microseconds for sixty variables, and whatever shows a
request's environment then shows secrets. PEP 3333 requires neither. If a version of granian has no such attribute,
its own wrapper remains in use. See docs/decisions/0007.

Why granian must not handle the signals of a worker itself is explained in `model_service.server.shutdown`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from granian import _signals
from granian._granian import WorkerSignal
from granian.server import mp
from granian.wsgi import ResponseIterWrap

from model_service.server.shutdown import WorkerShutdown

log = logging.getLogger(__name__)

_ATTRIBUTE: Final = "_wsgi_call_wrap"
_SIGNALS_ATTRIBUTE: Final = "set_sync_signals"
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class StartResponse:
    """WSGI's ``start_response``: stores status and headers."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:  # noqa: ARG002
        """Store status and headers. WSGI defines the names of the arguments."""
        self.status = int(status[:3])
        self.headers = headers


def wsgi_wrapper(
    application: Application,
    _options: dict[str, Any],
    _log_format: Any = None,
    *,
    discard_body: Callable[[dict[str, Any]], None] = lambda _environ: None,
) -> Callable[..., int]:
    """Return the function that granian calls for each request, with its protocol object and part of the environment.

    Parameters
    ----------
    application : callable
        The WSGI application.
    _options, _log_format
        granian's, for a path prefix and an access log of its own; the service uses neither.
    discard_body : callable
        Called with the environment of a request that was answered with an error.
    """
    common = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "Granian",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,  # Werkzeug's: the input ends with the body
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }

    def call(protocol: Any, scope: dict[str, Any]) -> int:
        start = StartResponse()
        body = application(common | scope, start)
        if type(body) is list:
            protocol.response_bytes(start.status, start.headers, body[0] if len(body) == 1 else b"".join(body))
        else:
            protocol.response_iter(start.status, start.headers, ResponseIterWrap(body))  # type: ignore[no-untyped-call]  # granian's
        if start.status >= 400:
            discard_body(scope)
        return start.status

    return call


def install(discard_body: Callable[[dict[str, Any]], None]) -> None:
    """In a worker: make granian use `wsgi_wrapper`. Call it while the application is loaded."""
    if hasattr(mp, _ATTRIBUTE):
        setattr(mp, _ATTRIBUTE, partial(wsgi_wrapper, discard_body=discard_body))
    else:
        log.warning(
            "this version of granian cannot be patched: requests are somewhat slower and contain the environment "
            "variables of the process"
        )


def install_shutdown(shutdown: WorkerShutdown) -> None:
    """In a worker: make granian stop when `shutdown` is told to, instead of handling signals itself.

    Raises
    ------
    RuntimeError
        If this version of granian cannot be patched.
    """
    if not hasattr(_signals, _SIGNALS_ATTRIBUTE):
        raise RuntimeError(
            f"expected granian._signals.{_SIGNALS_ATTRIBUTE}; found no such function. This version of granian is not "
            "supported: install the one in model_service/requirements.txt."
        )

    def set_sync_signals() -> WorkerSignal:
        event = WorkerSignal()
        shutdown.when_stopped(event.set)
        return event

    setattr(_signals, _SIGNALS_ATTRIBUTE, set_sync_signals)
