"""The routes that predict."""

from __future__ import annotations

from flask import Blueprint, Response, request

from include.settings import Settings
from model_service.answers import answer_of
from model_service.body import features_of, read_body
from model_service.guard import asks, current_visit
from model_service.limits import check_depth
from model_service.shelf import VersionShelf
from model_service.slots import ModelSlots


def predict_routes(settings: Settings, slots: ModelSlots, shelf: VersionShelf) -> Blueprint:
    """Return the blueprint of ``POST /predict`` and ``POST /v1/models/<name>[/versions/<version>]/predict``."""
    routes = Blueprint("predict", __name__)

    def predict(name: str, version: str | None = None) -> Response:
        visit = current_visit()
        # Read once: whatever is swapped in meanwhile, one version answers.
        slot = slots[name]
        loaded = slot.loaded() if version is None else shelf.loaded(slot, version)
        visit.model, visit.version = loaded.model, loaded.version
        body = read_body(request.environ, settings.service_max_bytes)
        visit.restart_laps()
        check_depth(body, settings.service_max_depth)
        features, many = features_of(body, settings.service_max_rows)
        visit.rows = len(features) if many else 1
        visit.lap("decode")
        return Response(answer_of(loaded, features, many=many, visit=visit), mimetype="application/json")

    @routes.post("/predict")
    @asks("predict")
    def predict_by_default() -> Response:
        return predict(settings.default_model)

    @routes.post("/v1/models/<name>/predict")
    @asks("predict")
    def predict_by_name(name: str) -> Response:
        return predict(name)

    @routes.post("/v1/models/<name>/versions/<version>/predict")
    @asks("predict")
    def predict_by_version(name: str, version: str) -> Response:
        return predict(name, version)

    return routes
