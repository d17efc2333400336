"""``GET /health`` and ``GET /ready``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from model_service.http.json import json_response
from model_service.http.middleware import RequestMiddleware, requires_scope
from model_service.http.redaction import without_paths
from model_service.models.registry import ModelRegistry
from model_service.models.status import ModelStatus, status_of
from model_service.openapi import Operation, ResponseSpec, documented


class HealthResponse(msgspec.Struct):
    """The process responds."""

    status: str


class ReadinessResponse(msgspec.Struct):
    """Whether the worker can answer for every model that has a champion.

    `ledger_error` and `invalid_specs` are only for callers that may see them.
    """

    ready: bool
    models: dict[str, ModelStatus]
    ledger_error: str | UnsetType | None = UNSET
    invalid_specs: Mapping[str, str] | UnsetType = UNSET


_DESCRIPTION = (
    "For load balancers: it needs no token and refuses none. With authentication, errors are shown only to tokens with "
    "the scope models: ledger_error, and load_error and invalid_specs of the models that the token grants."
)


def health_routes(registry: ModelRegistry, middleware: RequestMiddleware) -> Blueprint:
    """Return the blueprint of ``GET /health`` and ``GET /ready``."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    @requires_scope("open")
    @documented(Operation("Liveness check", "health", {200: HealthResponse}))
    def health() -> Response:
        return json_response(HealthResponse("alive"))

    @routes.get("/ready")
    @requires_scope("open")
    @documented(
        Operation(
            "Readiness check",
            "health",
            {
                200: ReadinessResponse,
                503: ResponseSpec("A model that has a champion is not loaded.", ReadinessResponse),
            },
            description=_DESCRIPTION,
        )
    )
    def ready() -> Response:
        readiness = _readiness_of(registry, middleware.visible_models(request.environ, "models"))
        response = json_response(readiness, 200 if readiness.ready else 503)
        if not readiness.ready:
            response.headers["Retry-After"] = "1"
        return response

    return routes


def _readiness_of(registry: ModelRegistry, is_visible: Callable[[str], bool] | None) -> ReadinessResponse:
    """Return the status of all models. Errors contain digests and hosts, so not every caller may see them."""
    readiness = ReadinessResponse(registry.ready, {})
    for served in registry:
        readiness.models[served.name] = status = status_of(served)
        if is_visible is not None and is_visible(served.name):
            status.load_error = served.load_error and without_paths(served.load_error)
    if is_visible is not None:
        readiness.ledger_error = registry.ledger_error and without_paths(registry.ledger_error)
        readiness.invalid_specs = {
            name: without_paths(reason) for name, reason in registry.invalid_specs.items() if is_visible(name)
        }
    return readiness
