"""The route that Prometheus asks."""

from __future__ import annotations

from flask import Blueprint, Response, request

from model_service.guard import asks
from model_service.observing.observer import Observer
from model_service.openapi import Answer, Operation, documented


def metric_routes(observer: Observer) -> Blueprint:
    """Return the blueprint of ``GET /metrics``."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @asks("metrics")
    @documented(
        Operation(
            "What is counted and timed, for Prometheus",
            "health",
            {200: Answer("Of all workers.", {"type": "string"}, media_type="text/plain")},
        )
    )
    def metrics() -> Response:
        text, media_type = observer.metrics(request.headers.get("Accept", ""))
        return Response(text, content_type=media_type)

    return routes
