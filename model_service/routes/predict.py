"""Predictions: ``POST /predict`` and ``POST /v1/models/<name>[/versions/<version>]/predict``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flask import Blueprint

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError, UnknownVersionError
from include.inference import ModelSignature
from include.settings import Settings
from model_service.http.body import parse_features, read_body
from model_service.http.compression import decompress
from model_service.http.errors import (
    ArtifactVerificationError,
    ContentEncodingError,
    LedgerUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
)
from model_service.http.fast_path import FastResponse, fast_path
from model_service.http.json_structure import check_depth
from model_service.http.limits import LargeBodySemaphore
from model_service.http.middleware import requires_scope
from model_service.http.request_context import RequestContext
from model_service.models.prediction import predict_json
from model_service.models.registry import LoadedModel, ModelRegistry
from model_service.models.version_cache import VersionCache
from model_service.openapi import Operation, RequestBody, documented
from model_service.openapi.operation import Problem
from model_service.openapi.signatures import prediction_schema, request_schema, response_schema


def predict_routes(
    settings: Settings, registry: ModelRegistry, version_cache: VersionCache, large_bodies: LargeBodySemaphore
) -> Blueprint:
    """Return the blueprint of ``POST /predict`` and ``POST /v1/models/<name>[/versions/<version>]/predict``."""
    routes = Blueprint("predict", __name__)

    # Read once: this is the hot path.
    max_bytes, max_depth, max_rows = settings.service_max_bytes, settings.service_max_depth, settings.service_max_rows

    def predict(
        environ: dict[str, Any], context: RequestContext, name: str, version: str | None = None
    ) -> FastResponse:
        # Read once: one version answers, whatever is loaded meanwhile.
        served = registry[name]
        loaded = served.require_loaded() if version is None else version_cache.get(served, version)
        context.version = loaded.version
        body = decompress(read_body(environ, max_bytes), environ.get("HTTP_CONTENT_ENCODING"), max_bytes)
        with large_bodies.limit(body):
            return predict_body(loaded, body, context)

    def predict_body(loaded: LoadedModel, body: bytes, context: RequestContext) -> FastResponse:
        context.restart_timer()
        structure = check_depth(body, max_depth, max_rows, width=loaded.encoder.width)
        features, many = parse_features(body, max_rows, loaded.encoder, structure)
        context.rows = len(features) if many else 1
        context.mark("decode")
        return FastResponse(predict_json(loaded, features, many=many, context=context))

    @routes.post("/predict")
    @requires_scope("predict")
    @documented(_operation("Predict with the default model", settings, _NO_CHAMPION))
    @fast_path
    def predict_by_default(environ: dict[str, Any], context: RequestContext) -> FastResponse:
        return predict(environ, context, settings.default_model)

    @routes.post("/v1/models/<name>/predict")
    @requires_scope("predict")
    @documented(_operation("Predict with a model", settings, _NO_CHAMPION))
    @fast_path
    def predict_by_name(environ: dict[str, Any], context: RequestContext, name: str) -> FastResponse:
        return predict(environ, context, name)

    @routes.post("/v1/models/<name>/versions/<version>/predict")
    @requires_scope("predict")
    @documented(replace(_operation("Predict with one version of a model", settings, _NO_VERSION), per_model=None))
    @fast_path
    def predict_by_version(environ: dict[str, Any], context: RequestContext, name: str, version: str) -> FastResponse:
        return predict(environ, context, name, version)

    return routes


_NO_CHAMPION: Final = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION: Final = (UnknownModelError, UnknownVersionError, ArtifactVerificationError, LedgerUnavailableError)


def _operation(summary: str, settings: Settings, problems: tuple[Problem, ...]) -> Operation:
    """Describe a prediction: for any model, and for a loaded model by its signature."""
    problems += (MalformedBodyError, ContentEncodingError, PayloadTooLargeError, 415, RowsRejectedError)

    def of_model(signature: ModelSignature) -> Operation:
        response = response_schema(prediction_schema(signature), {"const": signature.model})
        body = RequestBody(request_schema(signature, settings.service_max_rows))
        return Operation(f"{summary}: '{signature.model}'", "predict", {200: response}, problems=problems, body=body)

    return Operation(
        summary,
        "predict",
        {200: response_schema({"type": "object"}, {"type": "string"})},
        problems=problems,
        body=RequestBody(
            {
                "type": "object",
                "properties": {
                    "features": {
                        "description": "One row (a list in the declared order or an object by name) or a list of rows.",
                        "type": ["array", "object"],
                    }
                },
                "required": ["features"],
                "additionalProperties": False,
            }
        ),
        per_model=of_model,
    )
