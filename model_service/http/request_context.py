"""What is known about a request while it is processed: caller, request id, model, version and timings."""

from __future__ import annotations

import re
from random import getrandbits
from time import perf_counter_ns
from typing import Any, Final

from model_service.http.principal import Principal

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00; all-zero ids are invalid.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

PHASES: Final = ("decode", "validate", "predict", "encode")


def new_request_id() -> str:
    """Return a random request id. It is no secret, so it needs no system call, which would release the GIL."""
    return f"{getrandbits(128):032x}"


def request_id_from(header: str | None) -> str:
    """Return the value of ``X-Request-ID`` if it is valid, or a new request id."""
    return header if header is not None and REQUEST_ID.fullmatch(header) is not None else new_request_id()


class RequestContext:
    """One request, created when its processing begins.

    Attributes
    ----------
    route : str
        The route's pattern, such as ``/v1/models/<name>/predict``; never the path, which clients can vary at will.
    path, remote_addr : str
        The requested path and the client's address.
    request_id : str
        The value of ``X-Request-ID`` if it is valid, or a new id.
    traceparent : str or None
        The W3C trace context of the request, if it is valid.
    subject : str
        ``sub`` of the token, or "anonymous".
    principal : Principal or None
        The caller, once authenticated; None without authentication.
    model : str
        The declared model that the path names; "" if it names none or one that is not declared.
    version : int
        The version that answers; 0 until it is known.
    rows : int
        Number of rows to predict.
    sampled : bool
        Whether the prediction log records this request.
    capture_payload : bool
        Whether the view must set `inputs` and `outputs`, each a list with one element per row.
    counted_for : str or None
        The caller for whose limit of concurrent requests this one counts.
    timed_out : bool
        Whether the client was already answered 408, whatever the view returns later.
    timings : list of (phase, nanoseconds)
        Time spent in each phase; see `mark`.
    """

    __slots__ = (
        "admitted",
        "capture_payload",
        "counted_for",
        "inputs",
        "method",
        "model",
        "outputs",
        "path",
        "phase_started",
        "principal",
        "remote_addr",
        "request_id",
        "route",
        "rows",
        "sampled",
        "started",
        "subject",
        "timed_out",
        "timings",
        "traceparent",
        "version",
    )

    def __init__(self, environ: dict[str, Any], route: str) -> None:
        self.started = self.phase_started = perf_counter_ns()
        self.method: str = environ["REQUEST_METHOD"]
        self.route = route
        self.path: str = environ.get("PATH_INFO", "")
        self.remote_addr: str = environ.get("REMOTE_ADDR", "")
        given = environ.get("HTTP_X_REQUEST_ID")
        # `request_id_from`, written out: this runs for every request.
        self.request_id: str = (
            given if given is not None and REQUEST_ID.fullmatch(given) is not None else f"{getrandbits(128):032x}"
        )
        given = environ.get("HTTP_TRACEPARENT")
        self.traceparent: str | None = given if given is not None and _TRACEPARENT.fullmatch(given) else None
        self.subject = "anonymous"
        self.principal: Principal | None = None
        self.model = ""
        self.version = 0
        self.rows = 0
        self.admitted = self.timed_out = False
        self.counted_for: str | None = None
        self.sampled = self.capture_payload = False
        self.inputs: Any = None
        self.outputs: Any = None
        self.timings: list[tuple[str, int]] = []

    def mark(self, phase: str) -> None:
        """Record the time since the previous mark as `phase`, one of `PHASES`."""
        now = perf_counter_ns()
        self.timings.append((phase, now - self.phase_started))
        self.phase_started = now

    def restart_timer(self) -> None:
        """Start the next phase now; the time before belongs to no phase."""
        self.phase_started = perf_counter_ns()

    def can_access(self, model: str) -> bool:
        """Return whether the caller may access `model`; always true without authentication."""
        return self.principal is None or self.principal.can_access(model)
