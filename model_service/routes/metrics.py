"""``GET /metrics``."""

from __future__ import annotations

from flask import Blueprint, Response, request

from model_service.http.compression import negotiate_encoding
from model_service.http.middleware import requires_scope
from model_service.observability.recorder import RequestRecorder
from model_service.openapi import Operation, ResponseSpec, documented


def metrics_routes(recorder: RequestRecorder) -> Blueprint:
    """Return the blueprint of ``GET /metrics``."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @requires_scope("metrics")
    @documented(
        Operation(
            "Prometheus metrics",
            "health",
            {200: ResponseSpec("The metrics of all workers.", {"type": "string"}, media_type="text/plain")},
        )
    )
    def metrics() -> Response:
        encoding = negotiate_encoding(request.headers.get("Accept-Encoding"))
        text, media_type = recorder.metrics(request.headers.get("Accept", ""), encoding)
        response = Response(text, content_type=media_type)
        response.headers["Vary"] = "Accept, Accept-Encoding"
        if encoding is not None:
            response.headers["Content-Encoding"] = encoding
        return response

    return routes
