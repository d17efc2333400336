"""What is known of one request while it is answered: who asks what, under which id, and where the time goes."""

from __future__ import annotations

import re
from random import getrandbits
from time import perf_counter_ns
from typing import Any, Final

from model_service.http.principal import Principal

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00; ids of zeros only are invalid.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

PHASES: Final = ("decode", "validate", "predict", "encode")


class RequestContext:
    """One request, from the moment it is taken up.

    Attributes
    ----------
    route : str
        The route's pattern, such as ``/v1/models/<name>/predict``: never a path, which anybody can make up.
    path, remote_addr : str
        The path asked for, and the address that the connection comes from.
    request_id : str
        The principal's own, if it is a sane one, or a new one.
    traceparent : str or None
        W3C trace context as the principal sent it, if it is valid.
    subject : str
        Who asks: ``sub`` of the token, or "anonymous".
    principal : Principal or None
        Who asks, if authentication is on and they were let in.
    model : str
        What is asked, if the path names a declared model, whether it answers or not; "" otherwise.
    version : int
        Which version answers; 0 until it is known.
    rows : int
        How many rows are predicted.
    sampled : bool
        Whether the prediction log takes this one.
    capture_payload : bool
        Whether `inputs` and `outputs`, each a list with one element a row, are to be set.
    timed_out : bool
        Whether it was answered 408 past the server, whatever its view answers afterwards.
    timings : list of (phase, nanoseconds)
        Where the time went; see `lap`.
    """

    __slots__ = (
        "admitted",
        "capture_payload",
        "inputs",
        "method",
        "model",
        "outputs",
        "path",
        "principal",
        "remote_addr",
        "request_id",
        "route",
        "rows",
        "sampled",
        "since",
        "started",
        "subject",
        "timed_out",
        "timings",
        "traceparent",
        "version",
    )

    def __init__(self, environ: dict[str, Any], route: str) -> None:
        self.started = self.since = perf_counter_ns()
        self.method: str = environ["REQUEST_METHOD"]
        self.route = route
        self.path: str = environ.get("PATH_INFO", "")
        self.remote_addr: str = environ.get("REMOTE_ADDR", "")
        given = environ.get("HTTP_X_REQUEST_ID")
        self.request_id: str = (
            given
            if given is not None and _REQUEST_ID.fullmatch(given) is not None
            # It names a request and keeps no secret. The system's own source would give the interpreter's lock away.
            else f"{getrandbits(128):032x}"
        )
        given = environ.get("HTTP_TRACEPARENT")
        self.traceparent: str | None = given if given is not None and _TRACEPARENT.fullmatch(given) else None
        self.subject = "anonymous"
        self.principal: Principal | None = None
        self.model = ""
        self.version = 0
        self.rows = 0
        self.admitted = self.timed_out = False
        self.sampled = self.capture_payload = False
        self.inputs: Any = None
        self.outputs: Any = None
        self.timings: list[tuple[str, int]] = []

    def mark(self, phase: str) -> None:
        """Count the time since the last lap as `phase`, one of `PHASES`."""
        now = perf_counter_ns()
        self.timings.append((phase, now - self.since))
        self.since = now

    def restart_timer(self) -> None:
        """Begin a lap here: what went before belongs to no phase."""
        self.since = perf_counter_ns()

    def can_access(self, model: str) -> bool:
        """Tell whether the principal may ask `model`; before anybody was let in, nobody says no."""
        return self.principal is None or self.principal.can_access(model)
