"""What the service answers to a prediction, as values that msgspec writes as JSON."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from math import isnan
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_service.http.request_context import RequestContext
from model_service.models.registry import LoadedModel

encode = msgspec.json.Encoder().encode
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class ClassPrediction(msgspec.Struct):
    """The answer to one row of a classification."""

    label: str
    class_index: int
    probabilities: dict[str, float]


class ValuePrediction(msgspec.Struct):
    """The answer to one row of a regression."""

    value: float


Prediction = ClassPrediction | ValuePrediction


class PredictionResponse(msgspec.Struct):
    """What every answer says of itself."""

    model: str
    version: int
    artifact_digest: str
    request_id: str
    timestamp: datetime


class SinglePrediction(PredictionResponse):
    """The answer to one row."""

    prediction: Prediction


class BatchPrediction(PredictionResponse):
    """The answers to many rows, in their order."""

    predictions: list[Prediction]


def to_predictions(loaded: LoadedModel, scores: NDArray[np.float64]) -> list[Prediction]:
    """Turn scores, shape (n, n_classes) or (n, 1), into one prediction a row."""
    classes = loaded.classes
    if not classes:
        return [ValuePrediction(value) for (value,) in scores.tolist()]
    best = scores.argmax(axis=1).tolist()
    return [
        ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))
        for index, row in zip(best, scores.tolist(), strict=True)
    ]


def to_prediction(loaded: LoadedModel, row: list[float]) -> Prediction:
    """Turn one row's scores into its prediction, as `to_predictions` does for many."""
    classes = loaded.classes
    if not classes:
        return ValuePrediction(row[0])
    # Python's own is a fifth of the time of NumPy's, for so few; where a score is no number, NumPy's rule holds.
    index = int(np.argmax(row)) if isnan(sum(row)) else row.index(max(row))
    return ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))


def build_response(loaded: LoadedModel, features: Any, *, many: bool, context: RequestContext) -> bytes:
    """Predict, and return the answer's JSON; `context` is told where the time went.

    Raises
    ------
    RowsRejectedError
        If the rows are not what the model's signature allows.
    """
    encoder = loaded.encoder
    encoded: Any = encoder.encode(features) if many else encoder.values(features)
    context.mark("validate")
    about = (loaded.model, loaded.version, loaded.artifact_digest, context.request_id, datetime.now(UTC))
    if many:
        scores = loaded.scorer.score(encoded)
        context.mark("predict")
        predictions = to_predictions(loaded, scores)
        answer = encode(BatchPrediction(*about, predictions))
    else:
        row = loaded.scorer.score_one(encoded)
        context.mark("predict")
        predictions = [to_prediction(loaded, row)]
        answer = encode(SinglePrediction(*about, predictions[0]))
    context.mark("encode")
    if context.capture_payload:
        context.inputs, context.outputs = (features if many else [features]), predictions
    return answer


def request_id_of(given: str | None) -> str:
    """Return the caller's own request id if it is a sane one, or a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(16).hex()
