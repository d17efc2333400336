"""How granian hands a request to the application: as its own wrapper does, but without the process's environment.

granian copies the whole environment into each request's WSGI environment, as CGI did: three microseconds with
sixty variables, and the secrets among them lie in whatever shows a request's environment. PEP 3333 asks for
neither. `install` puts this module's wrapper in the place of granian's; should another version of granian
have no such place, its own goes on working. See docs/decisions/0007.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from granian.server import mp
from granian.wsgi import ResponseIterWrap

log = logging.getLogger(__name__)

_PLACE: Final = "_wsgi_call_wrap"
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class StartResponse:
    """What WSGI calls ``start_response``: keeps status and headers."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:  # noqa: ARG002
        """Take them; WSGI names the arguments."""
        self.status = int(status[:3])
        self.headers = headers


def wsgi_wrapper(application: Application, _options: dict[str, Any], _log_format: Any = None) -> Callable[..., int]:
    """Return what granian calls for each request with its answer-taker and its part of the environment.

    Parameters
    ----------
    application : callable
        As WSGI has it.
    _options, _log_format
        granian's, for a prefix of paths and a log of its own; the service uses neither.
    """
    every = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "Granian",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,  # Werkzeug's: the input ends where the body does
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }

    def answer(protocol: Any, scope: dict[str, Any]) -> int:
        start = StartResponse()
        body = application(every | scope, start)
        if type(body) is list:
            protocol.response_bytes(start.status, start.headers, body[0] if len(body) == 1 else b"".join(body))
        else:
            protocol.response_iter(start.status, start.headers, ResponseIterWrap(body))  # type: ignore[no-untyped-call]  # granian's
        return start.status

    return answer


def install() -> None:
    """Have granian's workers use `wsgi_wrapper`. Call it before the workers are started."""
    if hasattr(mp, _PLACE):
        setattr(mp, _PLACE, wsgi_wrapper)
    else:
        log.warning("this version of granian hands requests over by itself: somewhat slower, with the environment")
