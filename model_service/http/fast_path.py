"""The fast path: predictions are answered before Flask's dispatcher, by the same functions as Flask's routes.

Most of the time of an empty request goes into parts of Flask that a prediction does not need: routing by patterns,
contexts, request and response objects. A view that needs none of them is written as a function of the WSGI
environment and the request context, and marked::

    @routes.post("/v1/models/<name>/predict")
    @requires_scope("predict")
    @fast_path
    def predict_by_name(environ: dict[str, Any], context: RequestContext, name: str) -> FastResponse: ...

Flask can call it like any other view. `FastPathMiddleware`, which wraps ``app.wsgi_app`` as Flask documents it, calls
the same function without Flask. Middleware, problem documents and responses are the same code in both cases. Any
request that is not a POST to such a view goes to Flask unchanged.

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
from model_service.http.problems import problem_response
from model_service.http.request_context import RequestContext

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

MAX_PATHS: Final = 1_000
_VARIABLE: Final = re.compile(r"<(\w+)>")


class FastResponse(NamedTuple):
    """A response with status 200."""

    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def fast_path(respond: Callable[..., FastResponse]) -> Callable[..., Response]:
    """Return a Flask view that calls ``respond(environ, context, **arguments)``."""

    @wraps(respond)
    def view(**arguments: str) -> Response:
        fast = respond(request.environ, current_request_context(), **arguments)
        response = Response(fast.body, content_type=fast.media_type)
        response.headers.extend(fast.headers)
        return response

    view.fast_path = respond  # type: ignore[attr-defined]  # a function accepts attributes
    return view


@dataclass(frozen=True, slots=True)
class _RouteMatch:
    """What Flask's router would return for a path."""

    route: str
    scope: str
    model: str | None
    respond: Callable[..., FastResponse]
    arguments: dict[str, str]


class FastPathMiddleware:
    """Answers requests to the marked views of `app`, and passes all others to Flask.

    Parameters
    ----------
    app : Flask
        With all routes registered.
    middleware : RequestMiddleware
        The middleware of Flask's requests.
    default_model : str
        The model of ``POST /predict``.
    values : bool
        Whether error messages include rejected values.
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
        # Written under the GIL, one entry at a time; a lost entry is only computed again.
        self._matches: dict[str, _RouteMatch] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (WSGI, PEP 3333)."""
        path: str = environ["PATH_INFO"]
        match = self._matches.get(path) or self._match(path)
        if match is None or environ["REQUEST_METHOD"] != "POST" or "HTTP_UPGRADE" in environ:
            return self._flask(environ, start_response)
        context = RequestContext(environ, match.route)
        try:
            self._middleware.before_request(context, environ, match.scope, match.model)
            body, media_type, more = match.respond(environ, context, **match.arguments)
        except Exception as error:  # noqa: BLE001  # as in Flask: every error becomes a response
            return self._error_response(error, context, environ, start_response)
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

    def _error_response(
        self, error: Exception, context: RequestContext, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        response = problem_response(error, environ["PATH_INFO"], context.request_id, values=self._values)
        if context.traceparent is not None:
            response.headers["traceparent"] = context.traceparent
        self._middleware.after_request(context, response.status_code)
        return response(environ, start_response)

    def _match(self, path: str) -> _RouteMatch | None:
        if not path.isascii():  # WSGI passes bytes as Latin-1; Flask decodes them
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
