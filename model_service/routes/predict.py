"""The routes that predict."""

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
from model_service.http.limits import LargeBodySemaphore, check_depth
from model_service.http.middleware import requires_scope
from model_service.http.request_context import RequestContext
from model_service.http.responses import build_response
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

    # Looked up once: this is the hot path.
    max_bytes, max_depth, max_rows = settings.service_max_bytes, settings.service_max_depth, settings.service_max_rows

    def predict(
        environ: dict[str, Any], context: RequestContext, name: str, version: str | None = None
    ) -> FastResponse:
        # Read once: whatever is on_reload in meanwhile, one version answers.
        served = registry[name]
        loaded = served.require_loaded() if version is None else version_cache.get(served, version)
        context.version = loaded.version
        body = decompress(read_body(environ, max_bytes), environ.get("HTTP_CONTENT_ENCODING"), max_bytes)
        with large_bodies.limit(body):
            return answered(loaded, body, context)

    def answered(loaded: LoadedModel, body: bytes, context: RequestContext) -> FastResponse:
        context.restart_timer()
        check_depth(body, max_depth)
        features, many = parse_features(body, max_rows, loaded.encoder)
        context.rows = len(features) if many else 1
        context.mark("decode")
        return FastResponse(build_response(loaded, features, many=many, context=context))

    @routes.post("/predict")
    @requires_scope("predict")
    @documented(_operation("Ask the default model", settings, _NO_CHAMPION))
    @fast_path
    def predict_by_default(environ: dict[str, Any], context: RequestContext) -> FastResponse:
        return predict(environ, context, settings.default_model)

    @routes.post("/v1/models/<name>/predict")
    @requires_scope("predict")
    @documented(_operation("Ask a model", settings, _NO_CHAMPION))
    @fast_path
    def predict_by_name(environ: dict[str, Any], context: RequestContext, name: str) -> FastResponse:
        return predict(environ, context, name)

    @routes.post("/v1/models/<name>/versions/<version>/predict")
    @requires_scope("predict")
    @documented(replace(_operation("Ask one version of a model", settings, _NO_VERSION), per_model=None))
    @fast_path
    def predict_by_version(environ: dict[str, Any], context: RequestContext, name: str, version: str) -> FastResponse:
        return predict(environ, context, name, version)

    return routes


_NO_CHAMPION: Final = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION: Final = (UnknownModelError, UnknownVersionError, ArtifactVerificationError, LedgerUnavailableError)


def _operation(summary: str, settings: Settings, problems: tuple[Problem, ...]) -> Operation:
    """Return what a prediction takes and answers: of any model, and of one by its signature."""
    problems += (MalformedBodyError, ContentEncodingError, PayloadTooLargeError, 415, RowsRejectedError)

    def of_model(signature: ModelSignature) -> Operation:
        answer = response_schema(prediction_schema(signature), {"const": signature.model})
        body = RequestBody(request_schema(signature, settings.service_max_rows))
        return Operation(f"{summary}: '{signature.model}'", "predict", {200: answer}, problems=problems, body=body)

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
