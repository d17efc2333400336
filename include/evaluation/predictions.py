"""One model's predictions on some rows, and the values that metrics need; each is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import bin_of, calibration_errors, predicted_and_observed
from include.spec import Task

Floats = NDArray[np.float64]
Truth = NDArray[np.int64] | NDArray[np.float64]


def normalised(scores: Floats) -> Floats:
    """Return `scores` with rows whose sum is exactly 1, as log loss requires; in single precision it only nearly is."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's scores and the true values.

    Attributes
    ----------
    truth : ndarray, shape (n_samples,)
        Class indices, or values.
    scores : ndarray of float64, shape (n_samples, n_classes), or (n_samples, 1) for a regression
    threshold : float or None
        The probability from which a binary model predicts the second class; None: the most probable class.
    quantile : float
        The quantile of the pinball loss of a regression.
    """

    task: Task
    truth: Truth
    scores: Floats
    threshold: float | None = None
    quantile: float = 0.5

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """The true class indices, shape (n_samples,)."""
        return self.truth.astype(np.int64)

    @cached_property
    def probabilities(self) -> Floats:
        """Shape (n_samples, n_classes)."""
        return normalised(self.scores)

    @cached_property
    def labels(self) -> NDArray[np.intp]:
        """All class indices, shape (n_classes,)."""
        return np.arange(self.scores.shape[1])

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class of each row, shape (n_samples,)."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.intp)

    @cached_property
    def is_true(self) -> NDArray[np.bool_]:
        """Whether a class is the true one, shape (n_samples, n_classes)."""
        return np.asarray(self.classes[:, None] == self.labels)

    @cached_property
    def is_predicted(self) -> NDArray[np.bool_]:
        """Whether a class is the predicted one, shape (n_samples, n_classes)."""
        return np.asarray(self.predicted[:, None] == self.labels)

    @cached_property
    def positive(self) -> Floats:
        """The probability of the positive class of a binary model, shape (n_samples,)."""
        return np.asarray(self.probabilities[:, 1])

    @cached_property
    def selected(self) -> NDArray[np.bool_]:
        """The rows that a binary model counts as positive, shape (n_samples,)."""
        if self.threshold is None:
            return np.asarray(self.predicted == 1)
        return np.asarray(self.scores[:, 1] >= self.threshold)

    @cached_property
    def calibration(self) -> tuple[Floats, Floats]:
        """The predicted probability and the outcome of each row; see `predicted_and_observed`."""
        return predicted_and_observed(self.classes, self.probabilities)

    @cached_property
    def calibration_bins(self) -> NDArray[np.bool_]:
        """Whether a row is in a calibration bin, shape (n_samples, n_bins)."""
        bins = bin_of(self.calibration[0])
        return np.asarray(bins[:, None] == np.arange(int(bins.max()) + 1))

    @cached_property
    def calibration_errors(self) -> tuple[float, float]:
        """The expected and the maximum calibration error."""
        return calibration_errors(*self.calibration)

    @cached_property
    def values(self) -> Floats:
        """The predicted values of a regression, shape (n_samples,)."""
        return np.asarray(self.scores[:, 0])

    @cached_property
    def errors(self) -> Floats:
        """Predicted less true value of a regression, shape (n_samples,)."""
        return np.asarray(self.values - self.truth)

    @property
    def has_every_class(self) -> bool:
        """Whether every class is the true class of some row."""
        return bool(self.is_true.any(axis=0).all())
