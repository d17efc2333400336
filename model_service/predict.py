"""The routes that predict."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from include.settings import Settings
from model_service.answers import answer_of, request_id_of
from model_service.body import features_of, read_body
from model_service.slots import ModelSlots


def predict_routes(settings: Settings, slots: ModelSlots) -> Blueprint:
    """Return the blueprint of ``POST /predict`` and ``POST /v1/models/<name>/predict``."""
    routes = Blueprint("predict", __name__)

    def predict(name: str) -> Response:
        environ = request.environ
        request_id = g.request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID"))
        # Read once: whatever is swapped in meanwhile, one version answers.
        loaded = slots[name].loaded()
        features, many = features_of(read_body(environ, settings.service_max_bytes), settings.service_max_rows)
        answer = Response(answer_of(loaded, features, many=many, request_id=request_id), mimetype="application/json")
        answer.headers["X-Request-ID"] = request_id
        return answer

    @routes.post("/predict")
    def predict_by_default() -> Response:
        return predict(settings.default_model)

    @routes.post("/v1/models/<name>/predict")
    def predict_by_name(name: str) -> Response:
        return predict(name)

    return routes
