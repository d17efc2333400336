"""The fast path: predictions are answered before Flask's dispatcher, by the code that Flask's routes run.

Of an empty request's time Flask spends most on what a prediction does not need: routing by patterns,
contexts, request and response objects. So a view that needs none of it is written as a function of the
WSGI environment and the context, and marked::

    @routes.post("/v1/models/<name>/predict")
    @requires_scope("predict")
    @fast_path
    def predict_by_name(environ: dict[str, Any], context: RequestContext, name: str) -> FastResponse: ...

Flask can call it as any view, and `FastPathMiddleware`, put around ``app.wsgi_app`` as Flask documents it, calls
the same function without Flask. RequestMiddleware, problems and reply are the same code on both ways; what is not
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

from model_service.http.middleware import UNDECLARED, RequestMiddleware, current_request_context, model_from_route
from model_service.http.problems import problem_of
from model_service.http.request_context import RequestContext

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

MAX_PATHS: Final = 1_000
_VARIABLE: Final = re.compile(r"<(\w+)>")


class FastResponse(NamedTuple):
    """An answer of status 200."""

    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def fast_path(answer: Callable[..., FastResponse]) -> Callable[..., Response]:
    """Return the view of Flask that answers by ``answer(environ, context, **arguments)``."""

    @wraps(answer)
    def view(**arguments: str) -> Response:
        reply = answer(request.environ, current_request_context(), **arguments)
        response = Response(reply.body, content_type=reply.media_type)
        response.headers.extend(reply.headers)
        return response

    view.fast_path = answer  # type: ignore[attr-defined]  # a function takes attributes
    return view


@dataclass(frozen=True, slots=True)
class _RouteMatch:
    """What is known of a path: as much as Flask's router would tell of it."""

    route: str
    scope: str
    model: str | None
    answer: Callable[..., FastResponse]
    arguments: dict[str, str]


class FastPathMiddleware:
    """Answers the views of `app` that are marked, and leaves the rest to Flask.

    Parameters
    ----------
    app : Flask
        With all its routes.
    middleware : RequestMiddleware
        The one that Flask's requests pass.
    default_model : str
        The model that ``POST /predict`` asks.
    values : bool
        Whether an error repeats the values that it refuses.
    """

    def __init__(self, app: Flask, middleware: RequestMiddleware, default_model: str, *, values: bool) -> None:
        self._flask: Application = app.wsgi_app
        self._middleware = middleware
        self._default_model = default_model
        self._values = values
        self._views = [
            (re.compile(_VARIABLE.sub(r"(?P<\1>[^/]+)", rule.rule)), rule.rule, view)
            for rule in app.url_map.iter_rules()
            if hasattr(view := cast(Any, app.view_functions[rule.endpoint]), "fast_path")
        ]
        # Written under the interpreter's lock, one entry at a time; a lost one is found again.
        self._matches: dict[str, _RouteMatch] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request, as WSGI has it (PEP 3333)."""
        path: str = environ["PATH_INFO"]
        match = self._matches.get(path) or self._match(path)
        if match is None or environ["REQUEST_METHOD"] != "POST" or "HTTP_UPGRADE" in environ:
            return self._flask(environ, start_response)
        context = RequestContext(environ, match.route)
        try:
            self._middleware.before_request(context, environ, match.scope, match.model)
            body, media_type, more = match.answer(environ, context, **match.arguments)
        except Exception as error:  # noqa: BLE001  # as Flask: every error becomes an answer
            return self._refused(error, context, environ, start_response)
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            *more,
            ("X-Request-ID", context.request_id),
        ]
        if context.traceparent is not None:
            headers.append(("traceparent", context.traceparent))
        self._middleware.after_request(context, 200)
        start_response("200 OK", headers)
        return [body]

    def _refused(
        self, error: Exception, context: RequestContext, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        answer = problem_of(error, environ["PATH_INFO"], context.request_id, values=self._values)
        if context.traceparent is not None:
            answer.headers["traceparent"] = context.traceparent
        self._middleware.after_request(context, answer.status_code)
        return answer(environ, start_response)

    def _match(self, path: str) -> _RouteMatch | None:
        if not path.isascii():  # WSGI hands bytes as Latin-1, and only Flask knows how to read them
            return None
        for pattern, route, view in self._views:
            found = pattern.fullmatch(path)
            if found:
                arguments = found.groupdict()
                scope = getattr(view, "scope", UNDECLARED)
                match = _RouteMatch(
                    route, scope, model_from_route(route, arguments, self._default_model), view.fast_path, arguments
                )
                if len(self._matches) < MAX_PATHS:
                    self._matches[path] = match
                return match
        return None
