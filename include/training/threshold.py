"""The probability from which a row is predicted positive: chosen on training rows, never on the holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.errors import ConversionError
from include.spec import DecisionThreshold, ModelSpec
from include.training.data import TrainingData, evenly_spaced
from include.training.fit import fit_on

VALIDATION_SHARE = 0.2
EARLIER_ROWS = "the first four fifths of the training rows, with which the threshold is chosen"
MAX_ROWS = 50_000
DEFAULT_THRESHOLD = 0.5


def choose_thresholds(spec: ModelSpec, data: TrainingData, fitted: dict[str, Any]) -> dict[str, float]:
    """Choose for each estimator the declared decision threshold, on the last fifth of the training rows.

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
        Empty if no threshold is declared.
    """
    declared = spec.decision_threshold
    if declared is None:
        return {}
    if declared.value is not None:
        return dict.fromkeys(fitted, declared.value)
    border = int(len(data.x_train) * (1 - VALIDATION_SHARE))
    rows = evenly_spaced(border, MAX_ROWS)
    earlier, later = data.y_train[rows], data.y_train[border:]
    if len(np.unique(earlier)) < 2 or len(np.unique(later)) < 2:
        return dict.fromkeys(fitted, DEFAULT_THRESHOLD)
    from sklearn.base import clone

    chosen = {}
    for name, estimator in fitted.items():
        copy = fit_on(spec, clone(estimator), data.x_train[rows], earlier, EARLIER_ROWS)
        chosen[name] = best_threshold(declared, later == 1, copy.predict_proba(data.x_train[border:])[:, 1])
    return chosen


def best_threshold(declared: DecisionThreshold, positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Return the best threshold on `score`; of several equally good ones, the highest.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        Whether a row is of the second class.
    score : ndarray of float64, shape (n_samples,)
        Its predicted probability.
    """
    # Each score is a threshold: rows with that score or more are predicted positive.
    thresholds = np.unique(score)[::-1]
    selected = len(score) - np.searchsorted(np.sort(score), thresholds)
    if declared.positive_rate is not None:
        few = selected <= declared.positive_rate * len(score)
        # No score selects so few rows: the next number above the highest score selects none.
        return float(thresholds[few][-1]) if few.any() else float(min(1.0, np.nextafter(thresholds[0], 2.0)))
    found = positive.sum() - np.searchsorted(np.sort(score[positive]), thresholds)
    if declared.costs is not None:
        false_positive, false_negative = declared.costs
        goodness = -(false_positive * (selected - found) + false_negative * (positive.sum() - found))
    else:
        goodness = 2 * found / np.maximum(selected + positive.sum(), 1)  # F1
    return float(thresholds[int(goodness.argmax())])


def decision_threshold(spec: ModelSpec, estimator: Any, chosen: float | None) -> float | None:
    """Return the threshold by which the labels of `estimator` are served; None: the most probable class.

    An estimator can bring its own, as scikit-learn's ``TunedThresholdClassifierCV`` and ``FixedThresholdClassifier``
    do.

    Parameters
    ----------
    chosen : float or None
        The threshold that the declaration gives.

    Raises
    ------
    ConversionError
        When it brings one that is not a probability of the second class, or one is declared as well.
    """
    outer = _final_estimator(estimator)
    name = type(outer).__name__
    if name not in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        return chosen

    def refuse(reason: str, advice: str) -> ConversionError:
        return ConversionError(spec.name, name, reason, advice)

    if spec.decision_threshold is not None:
        raise refuse("spec.py declares a decision_threshold as well", "Keep one of the two.")
    method = outer._get_response_method()  # noqa: SLF001  # which of the two it uses when it is not told
    methods = [method] if isinstance(method, str) else list(method)
    held = getattr(outer, "estimator_", outer.estimator)
    if next((each for each in methods if hasattr(held, each)), "") != "predict_proba":
        raise refuse(
            "its threshold is on decision_function, and probabilities are served",
            "Set response_method='predict_proba'.",
        )
    label = outer._curve_scorer._get_pos_label() if name.startswith("Tuned") else outer.pos_label  # noqa: SLF001
    if label not in (None, 1):
        raise refuse("its threshold is on the first class", "Leave pos_label out, or change the order of the classes.")
    if name.startswith("Tuned"):
        return float(outer.best_threshold_)
    return DEFAULT_THRESHOLD if outer.threshold == "auto" else float(outer.threshold)


def _final_estimator(estimator: Any) -> Any:
    """Return the estimator whose ``predict`` gives the labels: pipelines and searches pass it on."""
    while True:
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
