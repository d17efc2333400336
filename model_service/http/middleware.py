"""What every request passes on its way in and on its way out, whatever answers it.

On the way in: who asks (authentication), whether they may (scope, model), whether there is room
(limits). On the way out: request id and trace in the answer, metrics, log. It knows WSGI and no
framework, so that a route of Flask and a short cut before Flask's dispatcher pass the same code.

A view says what it asks for beside itself, and what says nothing is refused::

    @routes.get("/v1/models")
    @requires_scope("models")
    def models() -> Response: ...

Within a request, `current_request_context` is what is known of it: `model` is set when its path names one that is
declared; set `version` there once it is known, and call `lap` after each stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, cast

from flask import Flask, Response, g, request

from include import tokens
from include.settings import Settings
from model_service.auth import build_authenticator
from model_service.auth.authenticator import is_loopback
from model_service.http.limits import ConcurrencyLimiter, RateLimiter
from model_service.http.refusals import HTTPError, PermissionDeniedError
from model_service.http.request_context import RequestContext
from model_service.models.registry import ModelRegistry
from model_service.observability import RequestRecorder

Scope = Literal["open"] | tokens.Scope
View = TypeVar("View", bound=Callable[..., Any])

UNDECLARED: Final = "undeclared"


def requires_scope(scope: Scope) -> Callable[[View], View]:
    """Declare the scope that a view's callers need; "open" for none."""

    def declared(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]  # a function takes attributes
        return view

    return declared


class RequestMiddleware:
    """Lets requests in and sees them off.

    Parameters
    ----------
    settings : Settings
    recorder : RequestRecorder
        Who notes every request.
    registry : ModelRegistry
        The models by which requests are noted.

    Attributes
    ----------
    open_scopes : frozenset of str
        Of the routes that anybody may ask, as often as they like: metrics are among them on loopback.
    """

    def __init__(self, settings: Settings, recorder: RequestRecorder, registry: ModelRegistry) -> None:
        self._recorder = recorder
        self._registry = registry
        self._authenticator = build_authenticator(settings)
        self.open_scopes = frozenset({"open", "metrics"} if is_loopback(settings.service_host) else {"open"})
        self._in_flight = ConcurrencyLimiter(settings.service_max_concurrency)
        recorder.in_flight = self._in_flight.__len__
        self._rate = (
            RateLimiter(
                settings.service_rate_limit, settings.service_rate_limit_burst, workers=settings.service_workers
            )
            if settings.service_rate_limit
            else None
        )

    @property
    def in_flight(self) -> ConcurrencyLimiter:
        """The requests under way."""
        return self._in_flight

    @property
    def authenticates(self) -> bool:
        """Whether tokens are asked for."""
        return self._authenticator is not None

    def before_request(self, context: RequestContext, environ: dict[str, Any], scope: str, model: str | None) -> None:
        """Let `context` in, or raise what it is to be answered.

        Parameters
        ----------
        context : RequestContext
        environ : dict
            The request's WSGI environment.
        scope : str
            What the route asks for.
        model : str or None
            The model that the request names, if it names one.

        Raises
        ------
        HTTPError
            Of the kind that says why.
        """
        # Before anything can refuse it: whatever a model's requests are answered counts for the model. A name that
        # is not declared is anybody's invention, and would be a label of its own for each.
        if model is not None and model in self._registry:
            context.model = model
        if scope in self.open_scopes:
            return
        self._in_flight.acquire(context)
        context.admitted = True
        self._recorder.on_start(context)
        if self._authenticator is not None:
            context.principal = principal = self._authenticator.authenticate(
                environ.get("HTTP_AUTHORIZATION"), scope, model
            )
            context.subject = principal.subject
        if self._rate is not None:
            self._rate.acquire(context.subject if context.principal else context.remote_addr)

    def visible_models(self, environ: dict[str, Any], scope: Scope) -> Callable[[str], bool] | None:
        """Return of which models a route that anybody may ask tells this principal what others are not told.

        Of all while nobody is asked for tokens, which is on a loopback address only; else of those that the
        request's token allows. None: it shows no token that is good for `scope`, which is no reason to refuse it.
        """
        if self._authenticator is None:
            return lambda _model: True
        try:
            return self._authenticator.authenticate(environ.get("HTTP_AUTHORIZATION"), scope, None).can_access
        except HTTPError:
            return None

    def after_request(self, context: RequestContext, status: int) -> None:
        """Note that `context` was answered with `status`. Called once for each context, admitted or not."""
        if context.admitted:
            self._in_flight.release(context)
        self._recorder.on_end(context, status)


def register_middleware(app: Flask, middleware: RequestMiddleware, default_model: str) -> None:
    """Have every request to `app` pass `middleware`.

    Parameters
    ----------
    app : Flask
    middleware : RequestMiddleware
    default_model : str
        The model that ``POST /predict`` asks.
    """

    @app.before_request
    def before_request() -> None:
        environ = request.environ
        rule = request.url_rule
        context = g.context = RequestContext(environ, rule.rule if rule else "unmatched")
        g.request_id = context.request_id
        if rule is None:  # a path that is none: 404 without a look at the token
            return
        view = app.view_functions[rule.endpoint]
        arguments = request.view_args or {}
        model = model_from_route(rule.rule, arguments, default_model)
        middleware.before_request(context, environ, getattr(view, "scope", UNDECLARED), model)

    @app.after_request
    def after_request(answer: Response) -> Response:
        context = current_request_context()
        answer.headers["X-Request-ID"] = context.request_id
        if context.traceparent is not None:
            answer.headers["traceparent"] = context.traceparent
        middleware.after_request(context, answer.status_code)
        return answer


def model_from_route(route: str, arguments: Mapping[str, Any], default_model: str) -> str | None:
    """Return the model that a request names by its path."""
    return default_model if route == "/predict" else arguments.get("name")


def current_request_context() -> RequestContext:
    """Return what is known of the request that Flask answers now."""
    return cast(RequestContext, g.context)


def authorize_model(model: str) -> None:
    """Refuse the principal of this request who may not ask `model`; for routes that name none in their path.

    Raises
    ------
    PermissionDeniedError
        If the principal's token is for other models.
    """
    if not current_request_context().can_access(model):
        raise PermissionDeniedError("models", "its claim 'models' does not name this model")
