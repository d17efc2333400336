"""``GET /v1/models`` and ``GET /v1/models/<name>``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from include.errors import UnknownModelError
from model_service.http.json import json_response
from model_service.http.middleware import current_request_context, requires_scope
from model_service.http.redaction import without_paths
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel
from model_service.models.status import ModelState, status_of
from model_service.openapi import Operation, documented


class ModelSummary(msgspec.Struct, kw_only=True):
    """A declared model; the members after `load_error` exist only while a version is loaded."""

    name: str
    description: str | None
    owner: str | None
    version: int | None
    state: ModelState
    message: str
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
    """A declared model with its version's signature, training data and metrics."""

    signature: dict[str, Any] | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    data_digest: str | UnsetType = UNSET
    holdout_rows: int | UnsetType = UNSET
    metrics: dict[str, float | None] | UnsetType = UNSET


class ModelList(msgspec.Struct):
    """Every declared model."""

    models: list[ModelSummary]


def model_routes(registry: ModelRegistry) -> Blueprint:
    """Return the blueprint of ``GET /v1/models`` and ``GET /v1/models/<name>``."""
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    @requires_scope("models")
    @documented(Operation("List the declared models", "models", {200: ModelList}))
    def models() -> Response:
        can_access = current_request_context().can_access
        return json_response(
            ModelList(
                [ModelSummary(**_summarize(served, served.current)) for served in registry if can_access(served.name)]
            )
        )

    @routes.get("/v1/models/<name>")
    @requires_scope("models")
    @documented(
        Operation(
            "Get a model: its version, signature, metrics and promotion",
            "models",
            {200: ModelDetail},
            problems=(UnknownModelError,),
        )
    )
    def model(name: str) -> Response:
        served = registry[name]
        current = served.current
        members = _summarize(served, current)
        if current is not None:
            members["signature"] = current.scorer.signature.to_plain()
        if current is not None and (registered := current.registered) is not None:
            members |= {
                "created_at": registered.created_at,
                "data_digest": registered.data_digest,
                "holdout_rows": registered.evaluation.rows,
                "metrics": dict(registered.evaluation.candidate),
            }
        return json_response(ModelDetail(**members))

    return routes


def _summarize(served: ServedModel, current: LoadedModel | None) -> dict[str, Any]:
    spec, status = served.spec, status_of(served)
    members: dict[str, Any] = {
        "name": served.name,
        "description": spec.description if spec else None,
        "owner": spec.owner if spec else None,
        "version": status.version,
        "state": status.state,
        "message": status.message,
        "champion": status.champion,
        "load_error": served.load_error and without_paths(served.load_error),
    }
    if current is not None:
        signature = current.scorer.signature
        members |= {
            "task": signature.task,
            "artifact_digest": current.artifact_digest,
            "features": [feature.model_dump(mode="json") for feature in signature.features],
            "classes": list(signature.classes),
        }
        if current.promotion is not None:
            members |= {
                "promoted_at": current.promotion.promoted_at,
                "promoted_by": current.promotion.actor,
                "reason": current.promotion.reason,
            }
    return members
