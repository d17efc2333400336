"""Calibration of probabilities, in fifteen bins with equal numbers of rows.

Sources
-------
Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
AAAI: the expected and the maximum calibration error.
Nixon et al. (2019), Measuring calibration in deep learning. CVPR workshops: why bins with
equal numbers of rows, and not of equal width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from include.records import Bin

BINS = 15


def predicted_and_observed(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the predicted probability of an event, and whether it occurred, each of shape (n_samples,).

    With two classes, the event is the second class. With more, it is the predicted class (Guo et al. 2017, On
    calibration of modern neural networks).
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (truth == 1).astype(np.float64)
    predicted = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(truth)), predicted], (truth == predicted).astype(np.float64)


def bin_of(predicted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return each row's bin. There are at most 15, fewer when many rows have the same probability."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, predicted, side="right"), return_inverse=True)[1]


def calibration_errors(predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> tuple[float, float]:
    """Return the expected calibration error (mean over the rows of their bin's gap) and the maximum gap."""
    bins = bin_of(predicted)
    gaps, rows = np.abs(np.bincount(bins, weights=predicted - observed)), np.bincount(bins)
    return float(gaps.sum() / rows.sum()), float((gaps / rows).max())


def reliability(predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> tuple[Bin, ...]:
    """Return the points of a reliability diagram."""
    bins = bin_of(predicted)
    found = []
    for each in range(int(bins.max()) + 1):
        inside = bins == each
        found.append(
            Bin(
                low=float(predicted[inside].min()),
                high=float(predicted[inside].max()),
                rows=int(inside.sum()),
                predicted=float(predicted[inside].mean()),
                observed=float(observed[inside].mean()),
            )
        )
    return tuple(found)
