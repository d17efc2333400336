"""Metrics by task, by scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from include.spec import Task


def measure(
    task: Task, truth: NDArray[np.int64] | NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Measure answers against the truth.

    Parameters
    ----------
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    scores : ndarray of float64, shape (n_samples, n_classes), or (n_samples, 1) for a regression

    Returns
    -------
    dict of str to float
        By the names of `include.spec.Metric`. One that these rows cannot tell, such as the ROC AUC
        of a holdout with a single class, is left out; a gate on it then fails.
    """
    measured = _regression(truth, scores[:, 0]) if task == "regression" else _classification(task, truth, scores)
    return {name: float(value) for name, value in measured.items() if np.isfinite(value)}


def _classification(
    task: Task, truth: NDArray[np.int64] | NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, float]:
    from sklearn import metrics

    n_classes = scores.shape[1]
    labels = np.arange(n_classes)
    # Single-precision probabilities add up to one only nearly; log loss insists on it.
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    answer = scores.argmax(axis=1)
    truth_by_class = truth[:, None] == labels
    measured = {
        "log_loss": metrics.log_loss(truth, probabilities, labels=labels),
        "accuracy": metrics.accuracy_score(truth, answer),
        "macro_f1": metrics.f1_score(truth, answer, labels=labels, average="macro", zero_division=0.0),
    }
    every_class_seen = bool(truth_by_class.any(axis=0).all())
    if task == "binary":
        measured["brier"] = metrics.brier_score_loss(truth, probabilities[:, 1])
        if every_class_seen:
            measured["roc_auc"] = metrics.roc_auc_score(truth, probabilities[:, 1])
            measured["average_precision"] = metrics.average_precision_score(truth, probabilities[:, 1])
    else:
        # Brier's original multi-class score (Brier, 1950): the squared distance to the true class.
        measured["brier"] = float(((probabilities - truth_by_class) ** 2).sum(axis=1).mean())
        if every_class_seen:
            measured["roc_auc"] = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", labels=labels)
            measured["average_precision"] = metrics.average_precision_score(truth_by_class, probabilities)
    return measured


def _regression(truth: NDArray[np.int64] | NDArray[np.float64], answer: NDArray[np.float64]) -> dict[str, float]:
    from sklearn import metrics

    return {
        "mae": metrics.mean_absolute_error(truth, answer),
        "rmse": metrics.root_mean_squared_error(truth, answer),
        "r2": metrics.r2_score(truth, answer),
    }
