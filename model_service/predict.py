"""The routes that predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flask import Blueprint

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError, UnknownVersionError
from include.inference import ModelSignature
from include.settings import Settings
from model_service.answers import answer_of
from model_service.body import features_of, read_body
from model_service.compression import unpacked
from model_service.errors import (
    LedgerUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    TooLargeError,
    UnpackError,
    VersionRefusedError,
)
from model_service.express import Reply, express
from model_service.guard import asks
from model_service.limits import Turns, check_depth
from model_service.openapi import Body, Operation, documented
from model_service.openapi.operation import Problem
from model_service.openapi.signatures import answer_schema, prediction_schema, request_schema
from model_service.shelf import VersionShelf
from model_service.slots import LoadedModel, ModelSlots
from model_service.visit import Visit


def predict_routes(settings: Settings, slots: ModelSlots, shelf: VersionShelf, turns: Turns) -> Blueprint:
    """Return the blueprint of ``POST /predict`` and ``POST /v1/models/<name>[/versions/<version>]/predict``."""
    routes = Blueprint("predict", __name__)

    # Looked up once: this is the hot path.
    max_bytes, max_depth, max_rows = settings.service_max_bytes, settings.service_max_depth, settings.service_max_rows

    def predict(environ: dict[str, Any], visit: Visit, name: str, version: str | None = None) -> Reply:
        # Read once: whatever is swapped in meanwhile, one version answers.
        slot = slots[name]
        loaded = slot.loaded() if version is None else shelf.loaded(slot, version)
        visit.version = loaded.version
        body = unpacked(read_body(environ, max_bytes), environ.get("HTTP_CONTENT_ENCODING"), max_bytes)
        with turns.of(body):
            return answered(loaded, body, visit)

    def answered(loaded: LoadedModel, body: bytes, visit: Visit) -> Reply:
        visit.restart_laps()
        check_depth(body, max_depth)
        features, many = features_of(body, max_rows, loaded.encoder)
        visit.rows = len(features) if many else 1
        visit.lap("decode")
        return Reply(answer_of(loaded, features, many=many, visit=visit))

    @routes.post("/predict")
    @asks("predict")
    @documented(_operation("Ask the default model", settings, _NO_CHAMPION))
    @express
    def predict_by_default(environ: dict[str, Any], visit: Visit) -> Reply:
        return predict(environ, visit, settings.default_model)

    @routes.post("/v1/models/<name>/predict")
    @asks("predict")
    @documented(_operation("Ask a model", settings, _NO_CHAMPION))
    @express
    def predict_by_name(environ: dict[str, Any], visit: Visit, name: str) -> Reply:
        return predict(environ, visit, name)

    @routes.post("/v1/models/<name>/versions/<version>/predict")
    @asks("predict")
    @documented(replace(_operation("Ask one version of a model", settings, _NO_VERSION), per_model=None))
    @express
    def predict_by_version(environ: dict[str, Any], visit: Visit, name: str, version: str) -> Reply:
        return predict(environ, visit, name, version)

    return routes


_NO_CHAMPION: Final = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION: Final = (UnknownModelError, UnknownVersionError, VersionRefusedError, LedgerUnavailableError)


def _operation(summary: str, settings: Settings, problems: tuple[Problem, ...]) -> Operation:
    """Return what a prediction takes and answers: of any model, and of one by its signature."""
    problems += (MalformedBodyError, UnpackError, TooLargeError, 415, RowsRejectedError)

    def of_model(signature: ModelSignature) -> Operation:
        answer = answer_schema(prediction_schema(signature), {"const": signature.model})
        body = Body(request_schema(signature, settings.service_max_rows))
        return Operation(f"{summary}: '{signature.model}'", "predict", {200: answer}, problems=problems, body=body)

    return Operation(
        summary,
        "predict",
        {200: answer_schema({"type": "object"}, {"type": "string"})},
        problems=problems,
        body=Body(
            {
                "type": "object",
                "properties": {
                    "features": {
                        "description": "One row, as a list in the declared order or an object by name; or many.",
                        "type": ["array", "object"],
                    }
                },
                "required": ["features"],
                "additionalProperties": False,
            }
        ),
        per_model=of_model,
    )
