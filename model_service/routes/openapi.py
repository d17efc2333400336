"""``GET /openapi.json`` and ``GET /docs``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

from include.errors import UnknownModelError
from include.inference import ModelSignature
from include.settings import Settings
from model_service.http.compression import compress, negotiate_encoding
from model_service.http.errors import InvalidParameterError
from model_service.http.json import encode
from model_service.http.middleware import RequestMiddleware, requires_scope
from model_service.models.registry import ModelRegistry
from model_service.openapi.document import openapi_document
from model_service.openapi.operation import Operation, Parameter, ResponseSpec, documented
from model_service.openapi.page import render_page

# The page is self-contained: the browser must not load or run anything else.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CACHED: Final = 4
_QUERY: Final = (Parameter("model", {"type": "string"}, "Model to describe. Default: all loaded models."),)
_PROBLEMS: Final = (InvalidParameterError, UnknownModelError)


@dataclass(frozen=True, slots=True)
class _Visible:
    """The models to describe, which their digests identify."""

    digests: tuple[str, ...]
    signatures: tuple[ModelSignature, ...] = field(compare=False)


def _requested_model() -> str | None:
    given = request.args.to_dict()
    model = given.pop("model", None)
    for name, value in given.items():
        raise InvalidParameterError(name[:60], "the parameter model, or none", value)
    return model


def openapi_routes(settings: Settings, registry: ModelRegistry, middleware: RequestMiddleware) -> Blueprint:
    """Return the blueprint of ``GET /openapi.json`` and ``GET /docs``.

    The routes are public, as in the reference; models are described only to callers that may access them. So a browser,
    which sends no token, can show the page.
    """
    routes = Blueprint("openapi", __name__)

    def visible() -> _Visible:
        is_visible = middleware.visible_models(request.environ, "models")
        wanted = _requested_model()
        if wanted is not None and (wanted not in registry or is_visible is None or not is_visible(wanted)):
            raise UnknownModelError(wanted, [each.name for each in registry if is_visible and is_visible(each.name)])
        loaded = [
            served.current
            for served in registry
            if served.current is not None
            and is_visible is not None
            and is_visible(served.name)
            and wanted in (None, served.name)
        ]
        return _Visible(tuple(each.artifact_digest for each in loaded), tuple(each.scorer.signature for each in loaded))

    def document(models: _Visible) -> dict[str, Any]:
        return openapi_document(
            current_app,
            settings.default_model,
            {signature.model: signature for signature in models.signatures},
            authenticates=middleware.authenticates,
            open_scopes=middleware.open_scopes,
        )

    # Cached per set of visible models: these routes have no rate limit, and generating takes milliseconds.
    @lru_cache(maxsize=_CACHED)
    def as_json(models: _Visible) -> tuple[bytes, str]:
        body = encode(document(models))
        return body, hashlib.sha256(body).hexdigest()[:32]

    @lru_cache(maxsize=_CACHED)
    def compressed(models: _Visible, encoding: str) -> bytes:
        return compress(as_json(models)[0], encoding)

    @lru_cache(maxsize=_CACHED)
    def as_page(models: _Visible) -> str:
        return render_page(document(models), models_are_hidden=middleware.authenticates and not models.signatures)

    @routes.get("/openapi.json")
    @requires_scope("open")
    @documented(
        Operation(
            "OpenAPI description of the service",
            "docs",
            {
                200: ResponseSpec("An OpenAPI 3.1 document.", {"type": "object"}),
                304: ResponseSpec("The document is that of the ETag in If-None-Match.", None),
            },
            problems=_PROBLEMS,
            query=_QUERY,
        )
    )
    def openapi() -> Response:
        models = visible()
        body, digest = as_json(models)
        encoding = negotiate_encoding(request.headers.get("Accept-Encoding"))
        response = Response(body if encoding is None else compressed(models, encoding), mimetype="application/json")
        if encoding is not None:
            response.headers["Content-Encoding"] = encoding
        response.headers["Vary"] = "Accept-Encoding, Authorization"
        response.headers["Cache-Control"] = "private, no-cache"  # to be kept, and asked for again
        response.set_etag(digest, weak=True)  # the same for each encoding
        response.make_conditional(request)
        return response

    @routes.get("/docs")
    @requires_scope("open")
    @documented(
        Operation(
            "OpenAPI description as a web page",
            "docs",
            {200: ResponseSpec("A self-contained HTML page.", {"type": "string"}, media_type="text/html")},
            problems=_PROBLEMS,
            query=_QUERY,
        )
    )
    def docs() -> Response:
        page = Response(as_page(visible()), content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    return routes
