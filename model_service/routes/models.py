"""The routes that tell what is served, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from include.errors import UnknownModelError
from model_service.http.middleware import RequestMiddleware, current_request_context, requires_scope
from model_service.http.responses import encode
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel
from model_service.openapi import Operation, ResponseSpec, documented
from model_service.routes.versions import metrics_of


class HealthResponse(msgspec.Struct):
    """The process answers."""

    status: str


class ModelStatus(msgspec.Struct):
    """Whether a model answers, and with which version; `fault` is told to who may see it."""

    state: str
    version: int | None
    champion: int | None
    load_error: str | UnsetType | None = UNSET


class ReadinessResponse(msgspec.Struct):
    """Whether the worker can answer for every model that it should; what follows `models` is told to who may see it."""

    ready: bool
    models: dict[str, ModelStatus]
    ledger_error: str | UnsetType | None = UNSET
    broken: Mapping[str, str] | UnsetType = UNSET


class ModelSummary(msgspec.Struct, kw_only=True):
    """A declared model; what follows `fault` is told once a version is loaded."""

    name: str
    description: str | None
    owner: str | None
    version: int | None
    state: str
    champion: int | None
    load_error: str | None
    task: str | UnsetType = UNSET
    artifact_digest: str | UnsetType = UNSET
    features: list[dict[str, Any]] | UnsetType = UNSET
    classes: list[str] | UnsetType = UNSET
    promoted_at: datetime | UnsetType = UNSET
    promoted_by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ModelDetail(ModelSummary, kw_only=True):
    """A declared model with what its version was trained on and how it did."""

    signature: dict[str, Any] | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    data_digest: str | UnsetType = UNSET
    holdout_rows: int | UnsetType = UNSET
    metrics: dict[str, float | None] | UnsetType = UNSET


class ModelList(msgspec.Struct):
    """Every declared model."""

    models: list[ModelSummary]


_READY_TELLS = (
    "For load balancers: it needs no token. Where tokens are asked for, a request that shows one with the scope "
    "models is also told ledger_error, and fault and broken of the models that the token is good for; any other is "
    "answered without them, and never refused."
)


def model_routes(registry: ModelRegistry, middleware: RequestMiddleware) -> Blueprint:
    """Return the blueprint of ``GET /health``, ``GET /ready``, ``GET /v1/models`` and ``GET /v1/models/<name>``."""
    routes = Blueprint("models", __name__)

    @routes.get("/health")
    @requires_scope("open")
    @documented(Operation("Whether the process answers at all", "health", {200: HealthResponse}))
    def health() -> Response:
        return _json(HealthResponse("alive"))

    @routes.get("/ready")
    @requires_scope("open")
    @documented(
        Operation(
            "Whether every model that should answer does",
            "health",
            {200: ReadinessResponse, 503: ResponseSpec("Not every model that should answer does.", ReadinessResponse)},
            description=_READY_TELLS,
        )
    )
    def ready() -> Response:
        readiness = _readiness_of(registry, middleware.visible_models(request.environ, "models"))
        answer = _json(readiness, 200 if readiness.ready else 503)
        if not readiness.ready:
            answer.headers["Retry-After"] = "1"
        return answer

    @routes.get("/v1/models")
    @requires_scope("models")
    @documented(Operation("Every declared model", "models", {200: ModelList}))
    def models() -> Response:
        can_access = current_request_context().can_access
        return _json(
            ModelList(
                [ModelSummary(**_summarize(served, served.current)) for served in registry if can_access(served.name)]
            )
        )

    @routes.get("/v1/models/<name>")
    @requires_scope("models")
    @documented(
        Operation(
            "One model: what answers, how it did, what it takes, who promoted it and why",
            "models",
            {200: ModelDetail},
            problems=(UnknownModelError,),
        )
    )
    def one_model(name: str) -> Response:
        served = registry[name]
        current = served.current
        told = _summarize(served, current)
        if current is not None:
            told["signature"] = current.scorer.signature.to_plain()
        if current is not None and (registered := current.registered) is not None:
            told |= {
                "created_at": registered.created_at,
                "data_digest": registered.data_digest,
                "holdout_rows": registered.evaluation.rows,
                "metrics": metrics_of(registered),
            }
        return _json(ModelDetail(**told))

    return routes


def _json(document: Any, status: int = 200) -> Response:
    return Response(encode(document), status=status, mimetype="application/json")


def _readiness_of(registry: ModelRegistry, may_see: Callable[[str], bool] | None) -> ReadinessResponse:
    """Return the state of `registry`: faults hold paths, digests, and where the database is, and are not for everybody."""
    told = ReadinessResponse(registry.ready, {})
    for served in registry:
        told.models[served.name] = state = _status_of(served)
        if may_see is not None and may_see(served.name):
            state.load_error = served.load_error
    if may_see is not None:
        told.ledger_error = registry.ledger_error
        told.broken = {name: fault for name, fault in registry.broken.items() if may_see(name)}
    return told


def _status_of(served: ServedModel) -> ModelStatus:
    current, champion = served.current, served.champion
    if served.pin is not None:
        state = "serving the pinned version" if current is not None else "refused"
    elif champion is None:
        state = "no champion" if served.champion_known else "unknown: the ledger was not read yet"
    elif current is None:
        state = "refused" if served.load_error else "loading"
    elif current.promotion != champion:
        state = "serving an older version"
    else:
        state = "serving the champion"
    return ModelStatus(state, current.version if current else None, champion.to_version if champion else None)


def _summarize(served: ServedModel, current: LoadedModel | None) -> dict[str, Any]:
    spec, state = served.spec, _status_of(served)
    told: dict[str, Any] = {
        "name": served.name,
        "description": spec.description if spec else None,
        "owner": spec.owner if spec else None,
        "version": state.version,
        "state": state.state,
        "champion": state.champion,
        "load_error": served.load_error,
    }
    if current is not None:
        signature = current.scorer.signature
        told |= {
            "task": signature.task,
            "artifact_digest": current.artifact_digest,
            "features": [feature.model_dump(mode="json") for feature in signature.features],
            "classes": list(signature.classes),
        }
        if current.promotion is not None:
            told |= {
                "promoted_at": current.promotion.promoted_at,
                "promoted_by": current.promotion.actor,
                "reason": current.promotion.reason,
            }
    return told
