"""The express way: predictions are answered before Flask's dispatcher, by the code that Flask's routes run.

Of an empty request's time Flask spends most on what a prediction does not need: routing by patterns,
contexts, request and response objects. So a view that needs none of it is written as a function of the
WSGI environment and the visit, and marked::

    @routes.post("/v1/models/<name>/predict")
    @asks("predict")
    @express
    def predict_by_name(environ: dict[str, Any], visit: Visit, name: str) -> Reply: ...

Flask can call it as any view, and `Express`, put around ``app.wsgi_app`` as Flask documents it, calls
the same function without Flask. Guard, problems and reply are the same code on both ways; what is not
a POST to such a view is left to Flask untouched.

Source: https://flask.palletsprojects.com/en/stable/api/#flask.Flask.wsgi_app
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NamedTuple, cast

from flask import Flask, Response, request

from model_service.guard import UNDECLARED, Guard, current_visit, model_asked
from model_service.problems import problem_of
from model_service.visit import Visit

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

MOST_PATHS: Final = 1_000
_VARIABLE: Final = re.compile(r"<(\w+)>")


class Reply(NamedTuple):
    """An answer of status 200."""

    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def express(answer: Callable[..., Reply]) -> Callable[..., Response]:
    """Return the view of Flask that answers by ``answer(environ, visit, **arguments)``."""

    @wraps(answer)
    def view(**arguments: str) -> Response:
        reply = answer(request.environ, current_visit(), **arguments)
        response = Response(reply.body, content_type=reply.media_type)
        response.headers.extend(reply.headers)
        return response

    view.express = answer  # type: ignore[attr-defined]  # a function takes attributes
    return view


@dataclass(frozen=True, slots=True)
class _Way:
    """What is known of a path: as much as Flask's router would tell of it."""

    route: str
    scope: str
    model: str | None
    answer: Callable[..., Reply]
    arguments: dict[str, str]


class Express:
    """Answers the views of `app` that are marked, and leaves the rest to Flask.

    Parameters
    ----------
    app : Flask
        With all its routes.
    guard : Guard
        The one that Flask's requests pass.
    default_model : str
        The model that ``POST /predict`` asks.
    values : bool
        Whether an error repeats the values that it refuses.
    """

    def __init__(self, app: Flask, guard: Guard, default_model: str, *, values: bool) -> None:
        self._flask: Application = app.wsgi_app
        self._guard = guard
        self._default_model = default_model
        self._values = values
        self._views = [
            (re.compile(_VARIABLE.sub(r"(?P<\1>[^/]+)", rule.rule)), rule.rule, view)
            for rule in app.url_map.iter_rules()
            if hasattr(view := cast(Any, app.view_functions[rule.endpoint]), "express")
        ]
        # Written under the interpreter's lock, one entry at a time; a lost one is found again.
        self._ways: dict[str, _Way] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request, as WSGI has it (PEP 3333)."""
        path: str = environ["PATH_INFO"]
        way = self._ways.get(path) or self._way_of(path)
        if way is None or environ["REQUEST_METHOD"] != "POST" or "HTTP_UPGRADE" in environ:
            return self._flask(environ, start_response)
        visit = Visit(environ, way.route)
        try:
            self._guard.admit(visit, environ, way.scope, way.model)
            body, media_type, more = way.answer(environ, visit, **way.arguments)
        except Exception as error:  # noqa: BLE001  # as Flask: every error becomes an answer
            return self._refused(error, visit, environ, start_response)
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            *more,
            ("X-Request-ID", visit.request_id),
        ]
        if visit.traceparent is not None:
            headers.append(("traceparent", visit.traceparent))
        self._guard.dismiss(visit, 200)
        start_response("200 OK", headers)
        return [body]

    def _refused(self, error: Exception, visit: Visit, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer = problem_of(error, environ["PATH_INFO"], visit.request_id, values=self._values)
        if visit.traceparent is not None:
            answer.headers["traceparent"] = visit.traceparent
        self._guard.dismiss(visit, answer.status_code)
        return answer(environ, start_response)

    def _way_of(self, path: str) -> _Way | None:
        if not path.isascii():  # WSGI hands bytes as Latin-1, and only Flask knows how to read them
            return None
        for pattern, route, view in self._views:
            found = pattern.fullmatch(path)
            if found:
                arguments = found.groupdict()
                scope = getattr(view, "scope", UNDECLARED)
                way = _Way(route, scope, model_asked(route, arguments, self._default_model), view.express, arguments)
                if len(self._ways) < MOST_PATHS:
                    self._ways[path] = way
                return way
        return None
