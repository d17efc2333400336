"""The routes of the Open Inference Protocol, under ``/v2``."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError, UnknownVersionError
from include.settings import Settings
from model_service.http.body import read_body
from model_service.http.compression import compress, decompress, negotiate_encoding
from model_service.http.errors import (
    ArtifactVerificationError,
    ContentEncodingError,
    LedgerUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    TensorsRejectedError,
)
from model_service.http.fast_path import FastResponse, fast_path
from model_service.http.json import json_response
from model_service.http.limits import LargeBodySemaphore
from model_service.http.middleware import requires_scope
from model_service.http.request_context import RequestContext
from model_service.models.registry import LoadedModel, ModelRegistry
from model_service.models.version_cache import VersionCache
from model_service.oip import metadata
from model_service.oip.infer import infer
from model_service.oip.request import LayoutCache
from model_service.oip.response import EncodedResponse
from model_service.oip.schema import infer_operation
from model_service.openapi import Operation, ResponseSpec, documented

_NO_MODEL = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION = (UnknownModelError, UnknownVersionError, ArtifactVerificationError, LedgerUnavailableError)
_INVALID = (
    TensorsRejectedError,
    MalformedBodyError,
    ContentEncodingError,
    PayloadTooLargeError,
    RowsRejectedError,
    415,
)


def oip_routes(
    settings: Settings, registry: ModelRegistry, version_cache: VersionCache, large_bodies: LargeBodySemaphore
) -> Blueprint:
    """Return the blueprint of everything under ``/v2``."""
    routes = Blueprint("oip", __name__, url_prefix="/v2")
    _health_routes(routes, registry)
    _model_routes(routes, registry, version_cache)

    limit = settings.service_max_bytes
    layouts = LayoutCache(settings.service_max_rows, settings.service_max_depth)

    def infer_body(environ: dict[str, Any], context: RequestContext, loaded: LoadedModel) -> FastResponse:
        context.version = loaded.version
        body = decompress(read_body(environ, limit), environ.get("HTTP_CONTENT_ENCODING"), limit)
        head_bytes = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
        with large_bodies.limit(body):
            context.restart_timer()
            response = infer(loaded, body, head_bytes, context, layouts)
        return _to_fast_response(response, negotiate_encoding(environ.get("HTTP_ACCEPT_ENCODING")))

    @routes.post("/models/<name>/infer")
    @requires_scope("predict")
    @documented(infer_operation("Predict with a model", _NO_MODEL + _INVALID))
    @fast_path
    def infer_by_name(environ: dict[str, Any], context: RequestContext, name: str) -> FastResponse:
        return infer_body(environ, context, registry[name].require_loaded())

    @routes.post("/models/<name>/versions/<version>/infer")
    @requires_scope("predict")
    @documented(infer_operation("Predict with one version of a model", _NO_VERSION + _INVALID, of_version=True))
    @fast_path
    def infer_by_version(environ: dict[str, Any], context: RequestContext, name: str, version: str) -> FastResponse:
        return infer_body(environ, context, version_cache.get(registry[name], version))

    return routes


def _health_routes(routes: Blueprint, registry: ModelRegistry) -> None:
    @routes.get("/health/live")
    @requires_scope("open")
    @documented(Operation("Liveness check", "oip", {200: metadata.ServerLive}, error_format="oip"))
    def live() -> Response:
        return _json(metadata.ServerLive(True))

    @routes.get("/health/ready")
    @requires_scope("open")
    @documented(
        Operation(
            "Readiness check",
            "oip",
            {
                200: metadata.ServerReady,
                503: ResponseSpec("A model that has a champion is not loaded.", metadata.ServerReady),
            },
            error_format="oip",
        )
    )
    def ready() -> Response:
        return _json(metadata.ServerReady(registry.ready), 200 if registry.ready else 503)

    @routes.get("")
    @requires_scope("models")
    @documented(Operation("Get server metadata", "oip", {200: metadata.ServerMetadata}, error_format="oip"))
    def server() -> Response:
        return _json(metadata.server())


def _model_routes(routes: Blueprint, registry: ModelRegistry, version_cache: VersionCache) -> None:
    @routes.get("/models/<name>")
    @requires_scope("models")
    @documented(
        Operation("Get model metadata", "oip", {200: metadata.ModelMetadata}, problems=_NO_MODEL, error_format="oip")
    )
    def model(name: str) -> Response:
        return _json(metadata.model(registry[name].require_loaded(), version_cache.versions(registry[name])))

    @routes.get("/models/<name>/ready")
    @requires_scope("models")
    @documented(
        Operation(
            "Check whether a model is loaded",
            "oip",
            {200: metadata.ModelReady, 503: ResponseSpec("The model is not loaded.", metadata.ModelReady)},
            problems=(UnknownModelError,),
            error_format="oip",
        )
    )
    def model_ready(name: str) -> Response:
        is_ready = registry[name].current is not None
        return _json(metadata.ModelReady(name, is_ready), 200 if is_ready else 503)

    @routes.get("/models/<name>/versions/<version>")
    @requires_scope("models")
    @documented(
        Operation(
            "Get the metadata of a version",
            "oip",
            {200: metadata.ModelMetadata},
            problems=_NO_VERSION,
            error_format="oip",
        )
    )
    def version(name: str, version: str) -> Response:
        return _json(metadata.model(version_cache.get(registry[name], version), version_cache.versions(registry[name])))

    @routes.get("/models/<name>/versions/<version>/ready")
    @requires_scope("models")
    @documented(
        Operation(
            "Check whether a version can answer, and load it if necessary",
            "oip",
            {200: metadata.ModelReady},
            problems=_NO_VERSION,
            error_format="oip",
        )
    )
    def version_ready(name: str, version: str) -> Response:
        version_cache.get(registry[name], version)
        return _json(metadata.ModelReady(name, True))


def _json(document: Any, status: int = 200) -> Response:
    response = json_response(document, status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _to_fast_response(response: EncodedResponse, encoding: str | None) -> FastResponse:
    body = response.body if encoding is None else compress(response.body, encoding)
    headers: list[tuple[str, str]] = []
    if response.head_bytes is not None:  # of the uncompressed bytes
        headers.append(("Inference-Header-Content-Length", str(response.head_bytes)))
    if encoding is not None:
        headers.append(("Content-Encoding", encoding))
    headers.append(("Vary", "Accept-Encoding"))
    media_type = "application/json" if response.head_bytes is None else "application/octet-stream"
    return FastResponse(body, media_type, tuple(headers))
