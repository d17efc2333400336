"""``GET /openapi.json`` and ``GET /docs``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

from include.inference import ModelSignature
from include.settings import Settings
from model_service.http.json import encode
from model_service.http.middleware import RequestMiddleware, requires_scope
from model_service.models.registry import ModelRegistry
from model_service.openapi.document import openapi_document
from model_service.openapi.operation import Operation, ResponseSpec, documented
from model_service.openapi.page import render_page

# The page is self-contained: the browser must not load or run anything else.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CACHED: Final = 4


def openapi_routes(settings: Settings, registry: ModelRegistry, middleware: RequestMiddleware) -> Blueprint:
    """Return the blueprint of ``GET /openapi.json`` and ``GET /docs``.

    The routes are public, as in the reference; models are described only to callers that may access them. So a browser,
    which sends no token, can show the page.
    """
    routes = Blueprint("openapi", __name__)

    def signatures() -> tuple[ModelSignature, ...]:
        is_visible = middleware.visible_models(request.environ, "models")
        loaded = [
            served.current
            for served in registry
            if served.current is not None and is_visible and is_visible(served.name)
        ]
        return tuple(each.scorer.signature for each in loaded)

    def document(visible: tuple[ModelSignature, ...]) -> dict[str, Any]:
        return openapi_document(
            current_app,
            settings.default_model,
            {signature.model: signature for signature in visible},
            authenticates=middleware.authenticates,
            open_scopes=middleware.open_scopes,
        )

    # Cached per set of visible models: these routes have no rate limit, and generating takes milliseconds.
    @lru_cache(maxsize=_CACHED)
    def as_json(visible: tuple[ModelSignature, ...]) -> bytes:
        return encode(document(visible))

    @lru_cache(maxsize=_CACHED)
    def as_page(visible: tuple[ModelSignature, ...]) -> str:
        return render_page(document(visible), models_are_hidden=middleware.authenticates and not visible)

    @routes.get("/openapi.json")
    @requires_scope("open")
    @documented(
        Operation(
            "OpenAPI description of the service",
            "docs",
            {200: ResponseSpec("An OpenAPI 3.1 document.", {"type": "object"})},
        )
    )
    def openapi() -> Response:
        return Response(as_json(signatures()), mimetype="application/json")

    @routes.get("/docs")
    @requires_scope("open")
    @documented(
        Operation(
            "OpenAPI description as a web page",
            "docs",
            {200: ResponseSpec("A self-contained HTML page.", {"type": "string"}, media_type="text/html")},
        )
    )
    def docs() -> Response:
        page = Response(as_page(signatures()), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    return routes
