"""Metrics by task, by scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import calibration_errors, said_and_true
from include.spec import Task

Truth = NDArray[np.int64] | NDArray[np.float64]


def measure(
    task: Task,
    truth: Truth,
    scores: NDArray[np.float64],
    *,
    threshold: float = 0.5,
    quantile: float = 0.5,
    only: Iterable[str] | None = None,
) -> dict[str, float]:
    """Measure answers against the truth.

    Parameters
    ----------
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    scores : ndarray of float64, shape (n_samples, n_classes), or (n_samples, 1) for a regression
    threshold : float
        From which probability on ``f1`` of a binary model counts a row as positive.
    quantile : float
        Whose pinball loss is measured for a regression.
    only : iterable of str, optional
        The metrics wanted; all by default.

    Returns
    -------
    dict of str to float
        By the names of `include.spec.Metric`. One that these rows cannot tell, such as the ROC AUC
        of a holdout with a single class, is left out; a gate on it then fails.
    """
    if task == "regression":
        measured = _regression(truth, scores[:, 0], quantile)
    else:
        measured = _classification(task, truth.astype(np.int64), normalised(scores), threshold)
    wanted = measured.keys() if only is None else set(only)
    return {name: float(value) for name, value in measured.items() if name in wanted and np.isfinite(value)}


def normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `scores` with rows that add up to one exactly: single-precision ones only nearly do, log loss insists."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float64)


def _classification(
    task: Task, truth: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    from sklearn import metrics

    labels = np.arange(probabilities.shape[1])
    answer = probabilities.argmax(axis=1)
    truth_by_class = truth[:, None] == labels
    ece, mce = calibration_errors(*said_and_true(truth, probabilities))
    measured = {
        "log_loss": metrics.log_loss(truth, probabilities, labels=labels),
        "ece": ece,
        "mce": mce,
        "accuracy": metrics.accuracy_score(truth, answer),
        "macro_f1": metrics.f1_score(truth, answer, labels=labels, average="macro", zero_division=0.0),
    }
    every_class_seen = bool(truth_by_class.any(axis=0).all())
    if task == "binary":
        positive = probabilities[:, 1]
        measured["brier"] = metrics.brier_score_loss(truth, positive)
        measured["f1"] = metrics.f1_score(truth, positive >= threshold, zero_division=0.0)
        if every_class_seen:
            measured["roc_auc"] = metrics.roc_auc_score(truth, positive)
            measured["average_precision"] = metrics.average_precision_score(truth, positive)
    else:
        measured["micro_f1"] = metrics.f1_score(truth, answer, labels=labels, average="micro", zero_division=0.0)
        # Brier's original multi-class score (Brier, 1950): the squared distance to the true class.
        measured["brier"] = float(((probabilities - truth_by_class) ** 2).sum(axis=1).mean())
        if every_class_seen:
            measured["roc_auc"] = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", labels=labels)
            measured["average_precision"] = metrics.average_precision_score(truth_by_class, probabilities)
    return measured


def _regression(truth: Truth, answer: NDArray[np.float64], quantile: float) -> dict[str, float]:
    from sklearn import metrics

    return {
        "mae": metrics.mean_absolute_error(truth, answer),
        "rmse": metrics.root_mean_squared_error(truth, answer),
        "r2": metrics.r2_score(truth, answer),
        "pinball": metrics.mean_pinball_loss(truth, answer, alpha=quantile),
    }
