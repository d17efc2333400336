"""The routes that tell what is served, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from include.errors import UnknownModelError
from model_service.answers import encode
from model_service.guard import Guard, asks, current_visit
from model_service.openapi import Answer, Operation, documented
from model_service.slots import LoadedModel, ModelSlot, ModelSlots
from model_service.versions import metrics_of


class Alive(msgspec.Struct):
    """The process answers."""

    status: str


class ModelState(msgspec.Struct):
    """Whether a model answers, and with which version; `fault` is told to who may see it."""

    state: str
    version: int | None
    champion: int | None
    fault: str | UnsetType | None = UNSET


class Readiness(msgspec.Struct):
    """Whether the worker can answer for every model that it should; what follows `models` is told to who may see it."""

    ready: bool
    models: dict[str, ModelState]
    ledger_fault: str | UnsetType | None = UNSET
    broken: Mapping[str, str] | UnsetType = UNSET


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


_READY_TELLS = (
    "For load balancers: it needs no token. Where tokens are asked for, a request that shows one with the scope "
    "models is also told ledger_fault, and fault and broken of the models that the token is good for; any other is "
    "answered without them, and never refused."
)


def model_routes(slots: ModelSlots, guard: Guard) -> Blueprint:
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
            description=_READY_TELLS,
        )
    )
    def ready() -> Response:
        readiness = _readiness_of(slots, guard.trusted_models(request.environ, "models"))
        answer = _json(readiness, 200 if readiness.ready else 503)
        if not readiness.ready:
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


def _readiness_of(slots: ModelSlots, may_see: Callable[[str], bool] | None) -> Readiness:
    """Return the state of `slots`: faults hold paths, digests, and where the database is, and are not for everybody."""
    told = Readiness(slots.ready, {})
    for slot in slots:
        told.models[slot.name] = state = _state_of(slot)
        if may_see is not None and may_see(slot.name):
            state.fault = slot.fault
    if may_see is not None:
        told.ledger_fault = slots.ledger_fault
        told.broken = {name: fault for name, fault in slots.broken.items() if may_see(name)}
    return told


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
    return ModelState(state, current.version if current else None, champion.to_version if champion else None)


def _told_of(slot: ModelSlot, current: LoadedModel | None) -> dict[str, Any]:
    spec, state = slot.spec, _state_of(slot)
    told: dict[str, Any] = {
        "name": slot.name,
        "description": spec.description if spec else None,
        "owner": spec.owner if spec else None,
        "version": state.version,
        "state": state.state,
        "champion": state.champion,
        "fault": slot.fault,
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
