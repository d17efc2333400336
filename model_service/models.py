"""The routes that tell what is served, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from include.errors import UnknownModelError
from model_service.answers import encode
from model_service.guard import asks, current_visit
from model_service.openapi import Answer, Operation, documented
from model_service.slots import LoadedModel, ModelSlot, ModelSlots
from model_service.versions import metrics_of


class Alive(msgspec.Struct):
    """The process answers."""

    status: str


class ModelState(msgspec.Struct):
    """Whether a model answers, and with which version."""

    state: str
    version: int | None
    champion: int | None
    fault: str | None


class Readiness(msgspec.Struct):
    """Whether the worker can answer for every model that it should."""

    ready: bool
    models: dict[str, ModelState]
    ledger_fault: str | None
    broken: Mapping[str, str]


class ModelShown(msgspec.Struct, kw_only=True):
    """A declared model; what follows `fault` is told once a version is loaded."""

    name: str
    description: str | None
    owner: str | None
    version: int | None
    state: str
    champion: int | None
    fault: str | None
    task: str | UnsetType = UNSET
    artifact_digest: str | UnsetType = UNSET
    features: list[dict[str, Any]] | UnsetType = UNSET
    classes: list[str] | UnsetType = UNSET
    promoted_at: datetime | UnsetType = UNSET
    promoted_by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class OneModelShown(ModelShown, kw_only=True):
    """A declared model with what its version was trained on and how it did."""

    signature: dict[str, Any] | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    data_digest: str | UnsetType = UNSET
    holdout_rows: int | UnsetType = UNSET
    metrics: dict[str, float | None] | UnsetType = UNSET


class ModelsShown(msgspec.Struct):
    """Every declared model."""

    models: list[ModelShown]


def model_routes(slots: ModelSlots) -> Blueprint:
    """Return the blueprint of ``GET /health``, ``GET /ready``, ``GET /v1/models`` and ``GET /v1/models/<name>``."""
    routes = Blueprint("models", __name__)

    @routes.get("/health")
    @asks("open")
    @documented(Operation("Whether the process answers at all", "health", {200: Alive}))
    def health() -> Response:
        return _json(Alive("alive"))

    @routes.get("/ready")
    @asks("open")
    @documented(
        Operation(
            "Whether every model that should answer does",
            "health",
            {200: Readiness, 503: Answer("Not every model that should answer does.", Readiness)},
        )
    )
    def ready() -> Response:
        is_ready = slots.ready
        states = {slot.name: _state_of(slot) for slot in slots}
        answer = _json(Readiness(is_ready, states, slots.ledger_fault, slots.broken), 200 if is_ready else 503)
        if not is_ready:
            answer.headers["Retry-After"] = "1"
        return answer

    @routes.get("/v1/models")
    @asks("models")
    @documented(Operation("Every declared model", "models", {200: ModelsShown}))
    def models() -> Response:
        may_ask = current_visit().may_ask
        return _json(ModelsShown([ModelShown(**_told_of(slot, slot.current)) for slot in slots if may_ask(slot.name)]))

    @routes.get("/v1/models/<name>")
    @asks("models")
    @documented(
        Operation(
            "One model: what answers, how it did, what it takes, who promoted it and why",
            "models",
            {200: OneModelShown},
            problems=(UnknownModelError,),
        )
    )
    def one_model(name: str) -> Response:
        slot = slots[name]
        current = slot.current
        told = _told_of(slot, current)
        if current is not None:
            told["signature"] = current.scorer.signature.to_plain()
        if current is not None and (registered := current.registered) is not None:
            told |= {
                "created_at": registered.created_at,
                "data_digest": registered.data_digest,
                "holdout_rows": registered.evaluation.rows,
                "metrics": metrics_of(registered),
            }
        return _json(OneModelShown(**told))

    return routes


def _json(document: Any, status: int = 200) -> Response:
    return Response(encode(document), status=status, mimetype="application/json")


def _state_of(slot: ModelSlot) -> ModelState:
    current, champion = slot.current, slot.champion
    if slot.pin is not None:
        state = "serving the pinned version" if current is not None else "refused"
    elif champion is None:
        state = "no champion" if slot.champion_known else "unknown: the ledger was not read yet"
    elif current is None:
        state = "refused" if slot.fault else "loading"
    elif current.promotion != champion:
        state = "serving an older version"
    else:
        state = "serving the champion"
    return ModelState(
        state, current.version if current else None, champion.to_version if champion else None, slot.fault
    )


def _told_of(slot: ModelSlot, current: LoadedModel | None) -> dict[str, Any]:
    spec, state = slot.spec, _state_of(slot)
    told: dict[str, Any] = {
        "name": slot.name,
        "description": spec.description if spec else None,
        "owner": spec.owner if spec else None,
        "version": state.version,
        "state": state.state,
        "champion": state.champion,
        "fault": state.fault,
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
                "promoted_at": current.promotion.at,
                "promoted_by": current.promotion.actor,
                "reason": current.promotion.reason,
            }
    return told
