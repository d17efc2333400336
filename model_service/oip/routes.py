"""The protocol's routes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError, UnknownVersionError
from include.settings import Settings
from model_service.answers import encode
from model_service.body import read_body
from model_service.compression import packed, packing_of, unpacked
from model_service.errors import (
    LedgerUnavailableError,
    NotLoadedError,
    TensorsRejectedError,
    TooLargeError,
    UnpackError,
    VersionRefusedError,
)
from model_service.guard import asks, current_visit
from model_service.oip import metadata
from model_service.oip.answer import InferAnswer
from model_service.oip.described import infer_operation
from model_service.oip.infer import infer
from model_service.openapi import Answer, Operation, documented
from model_service.shelf import VersionShelf
from model_service.slots import LoadedModel, ModelSlots

_NO_MODEL = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION = (UnknownModelError, UnknownVersionError, VersionRefusedError, LedgerUnavailableError)
_REFUSED = (TensorsRejectedError, UnpackError, TooLargeError, RowsRejectedError, 415)


def oip_routes(settings: Settings, slots: ModelSlots, shelf: VersionShelf) -> Blueprint:
    """Return the blueprint of everything under ``/v2``."""
    routes = Blueprint("oip", __name__, url_prefix="/v2")
    _health_routes(routes, slots)
    _model_routes(routes, slots, shelf)

    def answered(loaded: LoadedModel) -> Response:
        visit = current_visit()
        visit.model, visit.version = loaded.model, loaded.version
        limit = settings.service_max_bytes
        body = unpacked(read_body(request.environ, limit), request.headers.get("Content-Encoding"), limit)
        head_bytes = request.headers.get("Inference-Header-Content-Length")
        return _response(infer(loaded, body, head_bytes, settings.service_max_rows, visit))

    @routes.post("/models/<name>/infer")
    @asks("predict")
    @documented(infer_operation("Ask a model", _NO_MODEL + _REFUSED))
    def infer_by_name(name: str) -> Response:
        return answered(slots[name].loaded())

    @routes.post("/models/<name>/versions/<version>/infer")
    @asks("predict")
    @documented(infer_operation("Ask one version of a model", _NO_VERSION + _REFUSED, of_version=True))
    def infer_by_version(name: str, version: str) -> Response:
        return answered(shelf.loaded(slots[name], version))

    return routes


def _health_routes(routes: Blueprint, slots: ModelSlots) -> None:
    @routes.get("/health/live")
    @asks("open")
    @documented(Operation("Whether the process answers at all", "oip", {200: metadata.Live}, faults="oip"))
    def live() -> Response:
        return _json(metadata.Live(True))

    @routes.get("/health/ready")
    @asks("open")
    @documented(
        Operation(
            "Whether every model that should answer does",
            "oip",
            {200: metadata.Ready, 503: Answer("Not every model that should answer does.", metadata.Ready)},
            faults="oip",
        )
    )
    def ready() -> Response:
        return _json(metadata.Ready(slots.ready), 200 if slots.ready else 503)

    @routes.get("")
    @asks("models")
    @documented(Operation("What this server is", "oip", {200: metadata.ServerShown}, faults="oip"))
    def server() -> Response:
        return _json(metadata.server())


def _model_routes(routes: Blueprint, slots: ModelSlots, shelf: VersionShelf) -> None:
    @routes.get("/models/<name>")
    @asks("models")
    @documented(
        Operation(
            "What a model takes and gives", "oip", {200: metadata.ModelMetadata}, problems=_NO_MODEL, faults="oip"
        )
    )
    def model(name: str) -> Response:
        return _json(metadata.model(slots[name].loaded(), shelf.versions(slots[name])))

    @routes.get("/models/<name>/ready")
    @asks("models")
    @documented(
        Operation(
            "Whether a model answers",
            "oip",
            {200: metadata.ModelReady, 503: Answer("It does not.", metadata.ModelReady)},
            problems=(UnknownModelError,),
            faults="oip",
        )
    )
    def model_ready(name: str) -> Response:
        is_ready = slots[name].current is not None
        return _json(metadata.ModelReady(name, is_ready), 200 if is_ready else 503)

    @routes.get("/models/<name>/versions/<version>")
    @asks("models")
    @documented(
        Operation(
            "What one version takes and gives",
            "oip",
            {200: metadata.ModelMetadata},
            problems=_NO_VERSION,
            faults="oip",
        )
    )
    def version(name: str, version: str) -> Response:
        return _json(metadata.model(shelf.loaded(slots[name], version), shelf.versions(slots[name])))

    @routes.get("/models/<name>/versions/<version>/ready")
    @asks("models")
    @documented(
        Operation(
            "Whether one version answers: it is loaded, if it was not",
            "oip",
            {200: metadata.ModelReady},
            problems=_NO_VERSION,
            faults="oip",
        )
    )
    def version_ready(name: str, version: str) -> Response:
        shelf.loaded(slots[name], version)
        return _json(metadata.ModelReady(name, True))


def _json(document: Any, status: int = 200) -> Response:
    answer = Response(encode(document), status=status, mimetype="application/json")
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer


def _response(answer: InferAnswer) -> Response:
    binary = answer.head_bytes is not None
    packing = packing_of(request.headers.get("Accept-Encoding"))
    body = answer.body if packing is None else packed(answer.body, packing)
    response = Response(body, content_type="application/octet-stream" if binary else "application/json")
    if binary:  # of the bytes before they were packed
        response.headers["Inference-Header-Content-Length"] = str(answer.head_bytes)
    if packing is not None:
        response.headers["Content-Encoding"] = packing
    response.headers["Vary"] = "Accept-Encoding"
    return response
