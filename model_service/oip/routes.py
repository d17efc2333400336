"""The protocol's routes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError, UnknownVersionError
from include.settings import Settings
from model_service.answers import encode
from model_service.body import read_body
from model_service.compression import packed, packing_of, unpacked
from model_service.errors import (
    LedgerUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    TensorsRejectedError,
    TooLargeError,
    UnpackError,
    VersionRefusedError,
)
from model_service.express import Reply, express
from model_service.guard import asks
from model_service.limits import Turns
from model_service.oip import metadata
from model_service.oip.answer import InferAnswer
from model_service.oip.described import infer_operation
from model_service.oip.infer import infer
from model_service.oip.request import Layouts
from model_service.openapi import Answer, Operation, documented
from model_service.shelf import VersionShelf
from model_service.slots import LoadedModel, ModelSlots
from model_service.visit import Visit

_NO_MODEL = (UnknownModelError, NoChampionError, NotLoadedError)
_NO_VERSION = (UnknownModelError, UnknownVersionError, VersionRefusedError, LedgerUnavailableError)
_REFUSED = (TensorsRejectedError, MalformedBodyError, UnpackError, TooLargeError, RowsRejectedError, 415)


def oip_routes(settings: Settings, slots: ModelSlots, shelf: VersionShelf, turns: Turns) -> Blueprint:
    """Return the blueprint of everything under ``/v2``."""
    routes = Blueprint("oip", __name__, url_prefix="/v2")
    _health_routes(routes, slots)
    _model_routes(routes, slots, shelf)

    limit = settings.service_max_bytes
    layouts = Layouts(settings.service_max_rows, settings.service_max_depth)

    def answered(environ: dict[str, Any], visit: Visit, loaded: LoadedModel) -> Reply:
        visit.version = loaded.version
        body = unpacked(read_body(environ, limit), environ.get("HTTP_CONTENT_ENCODING"), limit)
        head_bytes = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
        with turns.of(body):
            visit.restart_laps()
            answer = infer(loaded, body, head_bytes, visit, layouts)
        return _reply(answer, packing_of(environ.get("HTTP_ACCEPT_ENCODING")))

    @routes.post("/models/<name>/infer")
    @asks("predict")
    @documented(infer_operation("Ask a model", _NO_MODEL + _REFUSED))
    @express
    def infer_by_name(environ: dict[str, Any], visit: Visit, name: str) -> Reply:
        return answered(environ, visit, slots[name].loaded())

    @routes.post("/models/<name>/versions/<version>/infer")
    @asks("predict")
    @documented(infer_operation("Ask one version of a model", _NO_VERSION + _REFUSED, of_version=True))
    @express
    def infer_by_version(environ: dict[str, Any], visit: Visit, name: str, version: str) -> Reply:
        return answered(environ, visit, shelf.loaded(slots[name], version))

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


def _reply(answer: InferAnswer, packing: str | None) -> Reply:
    body = answer.body if packing is None else packed(answer.body, packing)
    headers: list[tuple[str, str]] = []
    if answer.head_bytes is not None:  # of the bytes before they were packed
        headers.append(("Inference-Header-Content-Length", str(answer.head_bytes)))
    if packing is not None:
        headers.append(("Content-Encoding", packing))
    headers.append(("Vary", "Accept-Encoding"))
    media_type = "application/json" if answer.head_bytes is None else "application/octet-stream"
    return Reply(body, media_type, tuple(headers))
