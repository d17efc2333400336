"""Predicts with a loaded model and returns the JSON of the response."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from include.errors import UnscorableRowsError
from include.inference import at_path
from model_service.http.json import encode
from model_service.http.request_context import RequestContext
from model_service.http.responses import BatchPrediction, SinglePrediction, to_prediction, to_predictions
from model_service.models.registry import LoadedModel


def predict_json(loaded: LoadedModel, features: Any, *, many: bool, context: RequestContext) -> bytes:
    """Predict, return the response's JSON, and record the phases in `context`.

    Raises
    ------
    RowsRejectedError
        If the rows do not match the model's signature, or it has no answer for one.
    """
    encoder = loaded.encoder
    encoded: Any = encoder.encode(features) if many else encoder.values(features)
    context.mark("validate")
    common = (loaded.model, loaded.version, loaded.artifact_digest, context.request_id, datetime.now(UTC))
    if many:
        scores = loaded.scorer.score(encoded)
        context.mark("predict")
        predictions = to_predictions(loaded.classes, scores, loaded.scorer.labels(scores))
        body = encode(BatchPrediction(*common, predictions))
    else:
        row = _score_one(loaded, encoded)
        context.mark("predict")
        predictions = [to_prediction(loaded.scorer.signature, row)]
        body = encode(SinglePrediction(*common, predictions[0]))
    context.mark("encode")
    if context.capture_payload:
        context.inputs, context.outputs = (features if many else [features]), predictions
    return body


def _score_one(loaded: LoadedModel, values: Sequence[float]) -> list[float]:
    try:
        return loaded.scorer.score_one(values)
    except UnscorableRowsError as error:
        raise at_path(error, lambda _row: "$.features") from None
