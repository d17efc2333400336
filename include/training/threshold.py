"""The probability from which a row is predicted positive: chosen on training rows, never on the holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.spec import ModelSpec
from include.training.data import TrainingData

VALIDATION_SHARE = 0.2
MAX_ROWS = 50_000
DEFAULT_THRESHOLD = 0.5


def choose_thresholds(spec: ModelSpec, data: TrainingData, fitted: dict[str, Any]) -> dict[str, float]:
    """Choose for each estimator the threshold with the best F1 on the last fifth of the training rows.

    A copy of each is fitted on the first four fifths (at most 50,000 of their rows, evenly spaced in
    time): the estimator that will be served has seen the last fifth, and would be too sure of it. With
    only one class in either part, the threshold is 0.5.

    Parameters
    ----------
    fitted : dict of str to estimator
        By name; classifiers of two classes.

    Returns
    -------
    dict of str to float
        Empty unless the model is binary.
    """
    if spec.task != "binary":
        return {}
    border = int(len(data.x_train) * (1 - VALIDATION_SHARE))
    rows = np.unique(np.linspace(0, border - 1, min(border, MAX_ROWS)).astype(int))
    earlier, later = data.y_train[rows], data.y_train[border:]
    if len(np.unique(earlier)) < 2 or len(np.unique(later)) < 2:
        return dict.fromkeys(fitted, DEFAULT_THRESHOLD)
    from sklearn.base import clone

    chosen = {}
    for name, estimator in fitted.items():
        copy = clone(estimator).fit(data.x_train[rows], earlier)
        chosen[name] = best_threshold(later == 1, copy.predict_proba(data.x_train[border:])[:, 1])
    return chosen


def best_threshold(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Return the threshold on `score` with the highest F1; of several, the highest one."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(positive, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = np.flatnonzero(f1[:-1] >= f1[:-1].max())[-1]
    return float(thresholds[best])
