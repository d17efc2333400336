"""Metrics by task, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import calibration_errors, said_and_true
from include.spec import Task

Truth = NDArray[np.int64] | NDArray[np.float64]
Way = Callable[[], float]


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
        ways = _regression(truth, scores[:, 0], quantile)
    else:
        ways = _classification(task, truth.astype(np.int64), normalised(scores), threshold)
    wanted = ways.keys() if only is None else [name for name in ways if name in set(only)]
    measured = {name: float(ways[name]()) for name in wanted}
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `scores` with rows that add up to one exactly: single-precision ones only nearly do, log loss insists."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float64)


def _classification(
    task: Task, truth: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float
) -> dict[str, Way]:
    from sklearn import metrics

    labels = np.arange(probabilities.shape[1])
    answer = probabilities.argmax(axis=1)
    truth_by_class = truth[:, None] == labels
    ways: dict[str, Way] = {
        "log_loss": lambda: metrics.log_loss(truth, probabilities, labels=labels),
        "ece": lambda: calibration_errors(*said_and_true(truth, probabilities))[0],
        "mce": lambda: calibration_errors(*said_and_true(truth, probabilities))[1],
        "accuracy": lambda: metrics.accuracy_score(truth, answer),
        "macro_f1": lambda: _f1(truth, answer, labels, "macro"),
    }
    if task == "binary":
        positive = probabilities[:, 1]
        ways["brier"] = lambda: metrics.brier_score_loss(truth, positive)
        ways["f1"] = lambda: metrics.f1_score(truth, positive >= threshold, zero_division=0.0)
        ranked: dict[str, Way] = {
            "roc_auc": lambda: metrics.roc_auc_score(truth, positive),
            "average_precision": lambda: metrics.average_precision_score(truth, positive),
        }
    else:
        ways["micro_f1"] = lambda: _f1(truth, answer, labels, "micro")
        # Brier's original multi-class score (Brier, 1950): the squared distance to the true class.
        ways["brier"] = lambda: ((probabilities - truth_by_class) ** 2).sum(axis=1).mean()
        ranked = {
            "roc_auc": lambda: metrics.roc_auc_score(truth, probabilities, multi_class="ovr", labels=labels),
            "average_precision": lambda: metrics.average_precision_score(truth_by_class, probabilities),
        }
    every_class_seen = bool(truth_by_class.any(axis=0).all())
    return ways | ranked if every_class_seen else ways


def _f1(truth: NDArray[np.int64], answer: NDArray[np.intp], labels: NDArray[np.intp], average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, answer, labels=labels, average=average, zero_division=0.0))


def _regression(truth: Truth, answer: NDArray[np.float64], quantile: float) -> dict[str, Way]:
    from sklearn import metrics

    return {
        "mae": lambda: metrics.mean_absolute_error(truth, answer),
        "rmse": lambda: metrics.root_mean_squared_error(truth, answer),
        "r2": lambda: metrics.r2_score(truth, answer),
        "pinball": lambda: metrics.mean_pinball_loss(truth, answer, alpha=quantile),
    }
