"""What every request passes on its way in and on its way out, whatever answers it.

On the way in: who asks (authentication), whether they may (scope, model), whether there is room
(limits). On the way out: request id and trace in the answer, metrics, log. It knows WSGI and no
framework, so that a route of Flask and a short cut before Flask's dispatcher pass the same code.

A view says what it asks for beside itself, and what says nothing is refused::

    @routes.get("/v1/models")
    @asks("models")
    def models() -> Response: ...

Within a request, `current_visit` is what is known of it: `model` is set when its path names one that is
declared; set `version` there once it is known, and call `lap` after each stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, cast

from flask import Flask, Response, g, request

from include.settings import Settings
from model_service.auth import open_door
from model_service.auth.door import is_loopback
from model_service.limits import InFlight, RateLimiter
from model_service.observing import Observer
from model_service.refusals import ForbiddenError, RefusalError
from model_service.slots import ModelSlots
from model_service.visit import Visit

Scope = Literal["open", "predict", "scores", "models", "metrics"]
View = TypeVar("View", bound=Callable[..., Any])

UNDECLARED: Final = "undeclared"


def asks(scope: Scope) -> Callable[[View], View]:
    """Declare the scope that a view's callers need; "open" for none."""

    def declared(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]  # a function takes attributes
        return view

    return declared


class Guard:
    """Lets requests in and sees them off.

    Parameters
    ----------
    settings : Settings
    observer : Observer
        Who notes every request.
    slots : ModelSlots
        The models by which requests are noted.

    Attributes
    ----------
    open_scopes : frozenset of str
        Of the routes that anybody may ask, as often as they like: metrics are among them on loopback.
    """

    def __init__(self, settings: Settings, observer: Observer, slots: ModelSlots) -> None:
        self._observer = observer
        self._slots = slots
        self._door = open_door(settings)
        self.open_scopes = frozenset({"open", "metrics"} if is_loopback(settings.service_host) else {"open"})
        self._in_flight = InFlight(settings.service_max_concurrency)
        observer.in_flight = self._in_flight.__len__
        self._rate = (
            RateLimiter(
                settings.service_rate_limit, settings.service_rate_limit_burst, workers=settings.service_workers
            )
            if settings.service_rate_limit
            else None
        )

    @property
    def in_flight(self) -> InFlight:
        """The requests under way."""
        return self._in_flight

    @property
    def authenticates(self) -> bool:
        """Whether tokens are asked for."""
        return self._door is not None

    def admit(self, visit: Visit, environ: dict[str, Any], scope: str, model: str | None) -> None:
        """Let `visit` in, or raise what it is to be answered.

        Parameters
        ----------
        visit : Visit
        environ : dict
            The request's WSGI environment.
        scope : str
            What the route asks for.
        model : str or None
            The model that the request names, if it names one.

        Raises
        ------
        RefusalError
            Of the kind that says why.
        """
        # Before anything can refuse it: whatever a model's requests are answered counts for the model. A name that
        # is not declared is anybody's invention, and would be a label of its own for each.
        if model is not None and model in self._slots:
            visit.model = model
        if scope in self.open_scopes:
            return
        self._in_flight.enter(visit)
        visit.admitted = True
        self._observer.meet(visit)
        if self._door is not None:
            visit.caller = caller = self._door.admit(environ.get("HTTP_AUTHORIZATION"), scope, model)
            visit.subject = caller.subject
        if self._rate is not None:
            self._rate.take(visit.subject if visit.caller else visit.peer)

    def trusted_models(self, environ: dict[str, Any], scope: Scope) -> Callable[[str], bool] | None:
        """Return of which models a route that anybody may ask tells this caller what others are not told.

        Of all while nobody is asked for tokens, which is on a loopback address only; else of those that the
        request's token allows. None: it shows no token that is good for `scope`, which is no reason to refuse it.
        """
        if self._door is None:
            return lambda _model: True
        try:
            return self._door.admit(environ.get("HTTP_AUTHORIZATION"), scope, None).may_ask
        except RefusalError:
            return None

    def dismiss(self, visit: Visit, status: int) -> None:
        """Note that `visit` was answered with `status`. Called once for each visit, admitted or not."""
        if visit.admitted:
            self._in_flight.leave(visit)
        self._observer.note(visit, status)


def register_guard(app: Flask, guard: Guard, default_model: str) -> None:
    """Have every request to `app` pass `guard`.

    Parameters
    ----------
    app : Flask
    guard : Guard
    default_model : str
        The model that ``POST /predict`` asks.
    """

    @app.before_request
    def admit() -> None:
        environ = request.environ
        rule = request.url_rule
        visit = g.visit = Visit(environ, rule.rule if rule else "unmatched")
        g.request_id = visit.request_id
        if rule is None:  # a path that is none: 404 without a look at the token
            return
        view = app.view_functions[rule.endpoint]
        arguments = request.view_args or {}
        model = model_asked(rule.rule, arguments, default_model)
        guard.admit(visit, environ, getattr(view, "scope", UNDECLARED), model)

    @app.after_request
    def dismiss(answer: Response) -> Response:
        visit = current_visit()
        answer.headers["X-Request-ID"] = visit.request_id
        if visit.traceparent is not None:
            answer.headers["traceparent"] = visit.traceparent
        guard.dismiss(visit, answer.status_code)
        return answer


def model_asked(route: str, arguments: Mapping[str, Any], default_model: str) -> str | None:
    """Return the model that a request names by its path."""
    return default_model if route == "/predict" else arguments.get("name")


def current_visit() -> Visit:
    """Return what is known of the request that Flask answers now."""
    return cast(Visit, g.visit)


def check_may_ask(model: str) -> None:
    """Refuse the caller of this request who may not ask `model`; for routes that name none in their path.

    Raises
    ------
    ForbiddenError
        If the caller's token is for other models.
    """
    if not current_visit().may_ask(model):
        raise ForbiddenError("models", "its claim 'models' does not name this model")
