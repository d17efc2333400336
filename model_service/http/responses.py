"""The JSON bodies of prediction responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from include.inference import ModelSignature


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


def to_predictions(
    classes: Sequence[str], scores: NDArray[np.float64], labels: NDArray[np.intp] | None
) -> list[Prediction]:
    """Convert scores to one prediction per row.

    Parameters
    ----------
    classes : sequence of str
        The classes of a classification; empty for a regression.
    scores : ndarray of float64, shape (n, n_classes) or (n, 1)
    labels : ndarray of intp, shape (n,), or None
        The position of each row's class.
    """
    if labels is None:
        return [ValuePrediction(value) for (value,) in scores.tolist()]
    return [
        ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))
        for index, row in zip(labels.tolist(), scores.tolist(), strict=True)
    ]


def to_prediction(signature: ModelSignature, row: list[float]) -> Prediction:
    """Convert the scores of one row, as `to_predictions` does for many."""
    classes = signature.classes
    if not classes:
        return ValuePrediction(row[0])
    index = signature.label(row)
    return ClassPrediction(classes[index], index, dict(zip(classes, row, strict=True)))
