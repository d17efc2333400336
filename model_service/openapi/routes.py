"""The routes of the document and of the docs page."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flask import Blueprint, Response, current_app

from include.settings import Settings
from model_service.answers import encode
from model_service.guard import asks, current_visit
from model_service.openapi.document import openapi_document
from model_service.openapi.operation import Answer, Operation, documented
from model_service.openapi.page import page_of
from model_service.slots import ModelSlots

# The page holds all it needs: a browser that is told so loads nothing, and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def openapi_routes(
    settings: Settings, slots: ModelSlots, *, authenticates: bool, open_scopes: Collection[str]
) -> Blueprint:
    """Return the blueprint of ``GET /openapi.json`` and ``GET /docs``."""
    routes = Blueprint("openapi", __name__)

    def document() -> dict[str, Any]:
        may_ask = current_visit().may_ask
        loaded = [slot.current for slot in slots if slot.current is not None and may_ask(slot.name)]
        signatures = {each.model: each.scorer.signature for each in loaded}
        return openapi_document(
            current_app,
            settings.default_model,
            signatures,
            authenticates=authenticates,
            open_scopes=open_scopes,
        )

    @routes.get("/openapi.json")
    @asks("models")
    @documented(Operation("This description", "docs", {200: Answer("OpenAPI 3.1.", {"type": "object"})}))
    def openapi() -> Response:
        return Response(encode(document()), mimetype="application/json")

    @routes.get("/docs")
    @asks("models")
    @documented(
        Operation(
            "This description as a page",
            "docs",
            {200: Answer("HTML that needs no other file.", {"type": "string"}, media_type="text/html")},
        )
    )
    def docs() -> Response:
        page = Response(page_of(document()), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    return routes
