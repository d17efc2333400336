"""What runs before and after every request: authentication, rate limit, concurrency limit, metrics and access log.

It depends on WSGI only, not on Flask's request: Flask's routes and the fast path run the same code.

A view declares the scope that it requires; a view that declares none is refused::

    @routes.get("/v1/models")
    @requires_scope("models")
    def models() -> Response: ...

During a request `current_request_context` returns its context. `model` is set when the path names a declared
model. Views set `version` once it is known, and call `mark` after each phase.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from typing import Any, Final, Literal, Protocol, TypeVar, cast

from flask import Flask, Response, g, request

from include import tokens
from include.settings import Settings
from model_service.http.errors import HTTPError, InvalidHostError, PermissionDeniedError
from model_service.http.limits import ConcurrencyLimiter, RateLimiter
from model_service.http.principal import Principal
from model_service.http.request_context import RequestContext

Scope = Literal["open"] | tokens.Scope
View = TypeVar("View", bound=Callable[..., Any])

UNDECLARED: Final = "undeclared"


class Authenticator(Protocol):
    """Authenticates a request and checks what it may access."""

    def authenticate(self, authorization: str | None, scope: str, model: str | None, address: str = "") -> Principal:
        """Return the caller, or raise an `HTTPError`."""


class Recorder(Protocol):
    """Records requests, for metrics and logs."""

    concurrency: Callable[[], int]

    def on_start(self, context: RequestContext) -> None:
        """Record the start of a request."""

    def on_end(self, context: RequestContext, status: int) -> None:
        """Record the end of a request."""


def requires_scope(scope: Scope) -> Callable[[View], View]:
    """Declare the scope that a view requires; "open": none."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]  # a function accepts attributes
        return view

    return mark


class RequestMiddleware:
    """Runs before and after every request.

    Parameters
    ----------
    settings : Settings
    recorder : Recorder
    models : container of str
        The names of the declared models.
    authenticator : Authenticator or None
        None: no authentication.
    open_scopes : collection of str
        The scopes that need no token and have no limits.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        models: Container[str],
        authenticator: Authenticator | None,
        open_scopes: Collection[str],
    ) -> None:
        self._recorder = recorder
        self._models = models
        self._authenticator = authenticator
        self.open_scopes = open_scopes
        self._concurrency = ConcurrencyLimiter(
            settings.service_max_concurrency, settings.service_concurrency_of_a_caller
        )
        recorder.concurrency = self._concurrency.__len__
        self._rate = (
            RateLimiter(
                settings.service_rate_limit, settings.service_rate_limit_burst, workers=settings.service_workers
            )
            if settings.service_rate_limit
            else None
        )

    @property
    def concurrency(self) -> ConcurrencyLimiter:
        """The requests in progress."""
        return self._concurrency

    @property
    def authenticates(self) -> bool:
        """Whether requests need a token."""
        return self._authenticator is not None

    def before_request(self, context: RequestContext, environ: dict[str, Any], scope: str, model: str | None) -> None:
        """Admit a request, or raise the error that it is answered with.

        Parameters
        ----------
        context : RequestContext
        environ : dict
            The WSGI environment of the request.
        scope : str
            The scope that the route requires.
        model : str or None
            The model that the path names, if any.

        Raises
        ------
        HTTPError
            The subclass tells the reason.
        """
        check_host(environ)
        # First, so that refused requests count for the model too. Names that are not declared are left out: anybody
        # can make them up, and each would become a label value of its own.
        if model is not None and model in self._models:
            context.model = model
        if scope in self.open_scopes:
            return
        self._concurrency.acquire(context)
        context.admitted = True
        self._recorder.on_start(context)
        if self._authenticator is not None:
            context.principal = principal = self._authenticator.authenticate(
                environ.get("HTTP_AUTHORIZATION"), scope, model, context.remote_addr
            )
            context.subject = principal.subject
            self._concurrency.assign(context, principal.subject)
        if self._rate is not None:
            self._rate.acquire(context.subject if context.principal else context.remote_addr)

    def visible_models(self, environ: dict[str, Any], scope: Scope) -> Callable[[str], bool] | None:
        """Return a predicate of the models whose details an open route may show to this caller.

        Without authentication, which is possible on a loopback address only, it accepts every model; otherwise the
        models that the request's token grants. None: the request has no token with `scope`. That is no reason to
        refuse it.
        """
        if self._authenticator is None:
            return lambda _model: True
        try:
            address = environ.get("REMOTE_ADDR", "")
            return self._authenticator.authenticate(environ.get("HTTP_AUTHORIZATION"), scope, None, address).can_access
        except HTTPError:
            return None

    def after_request(self, context: RequestContext, status: int) -> None:
        """Record that a request was answered with `status`. Called once per request, admitted or not."""
        if context.admitted:
            self._concurrency.release(context)
        self._recorder.on_end(context, status)


def register_middleware(app: Flask, middleware: RequestMiddleware, default_model: str) -> None:
    """Run `middleware` before and after every request of `app`.

    Parameters
    ----------
    app : Flask
    middleware : RequestMiddleware
    default_model : str
        The model of ``POST /predict``.
    """

    @app.before_request
    def before_request() -> None:
        environ = request.environ
        rule = request.url_rule
        context = g.context = RequestContext(environ, rule.rule if rule else "unmatched")
        g.request_id = context.request_id
        if rule is None:  # no such path: 404, whatever the token
            check_host(environ)
            return
        view = app.view_functions[rule.endpoint]
        arguments = request.view_args or {}
        model = model_from_route(rule.rule, arguments, default_model)
        middleware.before_request(context, environ, getattr(view, "scope", UNDECLARED), model)

    @app.after_request
    def after_request(response: Response) -> Response:
        context = current_request_context()
        response.headers["X-Request-ID"] = context.request_id
        if context.traceparent is not None:
            response.headers["traceparent"] = context.traceparent
        middleware.after_request(context, response.status_code)
        return response


def check_host(environ: dict[str, Any]) -> None:
    """Refuse a request of HTTP/1.1 that has no header ``Host`` or several, as RFC 9112, section 3.2, requires.

    A proxy and the service could otherwise disagree on the host that the request is for. Granian joins repeated
    headers with commas, and sets an empty host if there is none.

    Raises
    ------
    InvalidHostError
    """
    host = environ.get("HTTP_HOST", "")
    if (not host or "," in host) and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
        raise InvalidHostError(host)


def model_from_route(route: str, arguments: Mapping[str, Any], default_model: str) -> str | None:
    """Return the model that a request's path names."""
    return default_model if route == "/predict" else arguments.get("name")


def current_request_context() -> RequestContext:
    """Return the context of the request that Flask processes now."""
    return cast(RequestContext, g.context)


def authorize_model(model: str) -> None:
    """Check that the caller may access `model`; for routes whose path does not name the model.

    Raises
    ------
    PermissionDeniedError
        If the token does not grant the model.
    """
    if not current_request_context().can_access(model):
        raise PermissionDeniedError("models", "its claim 'models' does not include this model")
