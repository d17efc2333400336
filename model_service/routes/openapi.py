"""The routes of the document and of the docs page."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

from include.inference import ModelSignature
from include.settings import Settings
from model_service.http.middleware import RequestMiddleware, requires_scope
from model_service.http.responses import encode
from model_service.models.registry import ModelRegistry
from model_service.openapi.document import openapi_document
from model_service.openapi.operation import Operation, ResponseSpec, documented
from model_service.openapi.page import render_page

# The page holds all it needs: a browser that is told so loads nothing, and runs nothing.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_KEPT: Final = 4


def openapi_routes(settings: Settings, registry: ModelRegistry, middleware: RequestMiddleware) -> Blueprint:
    """Return the blueprint of ``GET /openapi.json`` and ``GET /docs``.

    Anybody may read which routes there are, as in the reference; of models they tell whoever may ask for them. So a
    browser, which sends no token, shows the page.
    """
    routes = Blueprint("openapi", __name__)

    def signatures() -> tuple[ModelSignature, ...]:
        can_access = middleware.visible_models(request.environ, "models")
        loaded = [
            served.current
            for served in registry
            if served.current is not None and can_access and can_access(served.name)
        ]
        return tuple(each.scorer.signature for each in loaded)

    def document(told: tuple[ModelSignature, ...]) -> dict[str, Any]:
        return openapi_document(
            current_app,
            settings.default_model,
            {signature.model: signature for signature in told},
            authenticates=middleware.authenticates,
            open_scopes=middleware.open_scopes,
        )

    # Made once for all who are told the same: these routes know no limits, and making it takes milliseconds.
    @lru_cache(maxsize=_KEPT)
    def as_json(told: tuple[ModelSignature, ...]) -> bytes:
        return encode(document(told))

    @lru_cache(maxsize=_KEPT)
    def as_page(told: tuple[ModelSignature, ...]) -> str:
        return render_page(document(told), models_are_hidden=middleware.authenticates and not told)

    @routes.get("/openapi.json")
    @requires_scope("open")
    @documented(Operation("This description", "docs", {200: ResponseSpec("OpenAPI 3.1.", {"type": "object"})}))
    def openapi() -> Response:
        return Response(as_json(signatures()), mimetype="application/json")

    @routes.get("/docs")
    @requires_scope("open")
    @documented(
        Operation(
            "This description as a page",
            "docs",
            {200: ResponseSpec("HTML that needs no other file.", {"type": "string"}, media_type="text/html")},
        )
    )
    def docs() -> Response:
        page = Response(as_page(signatures()), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    return routes
