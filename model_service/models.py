"""The routes that tell what is served, and whether it is."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from model_service.answers import encode
from model_service.slots import ModelSlot, ModelSlots


def model_routes(slots: ModelSlots) -> Blueprint:
    """Return the blueprint of ``GET /health``, ``GET /ready`` and ``GET /v1/models``."""
    routes = Blueprint("models", __name__)

    @routes.get("/health")
    def health() -> Response:
        return _json({"status": "alive"})

    @routes.get("/ready")
    def ready() -> Response:
        is_ready = slots.ready
        states = {slot.name: _state_of(slot) for slot in slots}
        document = {"ready": is_ready, "models": states, "ledger_fault": slots.ledger_fault, "broken": slots.broken}
        answer = _json(document, 200 if is_ready else 503)
        if not is_ready:
            answer.headers["Retry-After"] = "1"
        return answer

    @routes.get("/v1/models")
    def models() -> Response:
        return _json({"models": [_description_of(slot) for slot in slots]})

    return routes


def _json(document: Any, status: int = 200) -> Response:
    return Response(encode(document), status=status, mimetype="application/json")


def _state_of(slot: ModelSlot) -> dict[str, Any]:
    current, champion = slot.current, slot.champion
    if champion is None:
        state = "no champion" if slot.champion_known else "unknown: the ledger was not read yet"
    elif current is None:
        state = "refused" if slot.fault else "loading"
    elif current.promotion != champion:
        state = "serving an older version"
    else:
        state = "serving the champion"
    return {
        "state": state,
        "version": current.version if current else None,
        "champion": champion.to_version if champion else None,
        "fault": slot.fault,
    }


def _description_of(slot: ModelSlot) -> dict[str, Any]:
    current, spec = slot.current, slot.spec
    described: dict[str, Any] = {
        "name": slot.name,
        "description": spec.description if spec else None,
        "owner": spec.owner if spec else None,
        "version": None,
        **_state_of(slot),
    }
    if current is not None:
        signature = current.scorer.signature
        described |= {
            "task": signature.task,
            "artifact_digest": current.artifact_digest,
            "features": [feature.model_dump(mode="json") for feature in signature.features],
            "classes": signature.classes,
            "promoted_at": current.promotion.at,
            "promoted_by": current.promotion.actor,
            "reason": current.promotion.reason,
        }
    return described
