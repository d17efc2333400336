"""The JSON bodies of prediction responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import isnan

import msgspec
import numpy as np
from numpy.typing import NDArray


class ClassPrediction(msgspec.Struct):
    """The prediction of a classification for one row."""

    label: str
    class_index: int
    probabilities: dict[str, float]


class ValuePrediction(msgspec.Struct):
    """The prediction of a regression for one row."""

    value: float


Prediction = ClassPrediction | ValuePrediction


class PredictionResponse(msgspec.Struct):
    """The members that every prediction response has."""

    model: str
    version: int
    artifact_digest: str
    request_id: str
    timestamp: datetime


class SinglePrediction(PredictionResponse):
    """The response to a request with one row."""

    prediction: Prediction


class BatchPrediction(PredictionResponse):
    """The response to a request with many rows, in their order."""

    predictions: list[Prediction]


def to_predictions(classes: Sequence[str], scores: NDArray[np.float64]) -> list[Prediction]:
    """Convert scores to one prediction per row.

    Parameters
    ----------
    classes : sequence of str
        The classes of a classification; empty for a regression.
    scores : ndarray of float64, shape (n, n_classes) or (n, 1)
    """
    if not classes:
        return [ValuePrediction(value) for (value,) in scores.tolist()]
    best = scores.argmax(axis=1).tolist()
    return [
        ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))
        for index, row in zip(best, scores.tolist(), strict=True)
    ]


def to_prediction(classes: Sequence[str], row: list[float]) -> Prediction:
    """Convert the scores of one row, as `to_predictions` does for many."""
    if not classes:
        return ValuePrediction(row[0])
    # For so few values Python's max takes a fifth of NumPy's time. If a score is NaN, NumPy's rule decides.
    index = int(np.argmax(row)) if isnan(sum(row)) else row.index(max(row))
    return ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))
