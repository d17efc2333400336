"""ROC AUC with its uncertainty, alone and paired, from the placement of each row among those of the other class.

Sources
-------
DeLong, DeLong, Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver
operating characteristic curves: a nonparametric approach. Biometrics 44.
Sun, Xu (2014), Fast implementation of DeLong's algorithm for comparing the areas under correlated
receiver operating characteristic curves. IEEE Signal Processing Letters 21: placements from midranks.
Obuchowski (1997), Nonparametric analysis of clustered ROC curve data. Biometrics 53: placements
summed over rows that are not independent of each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def placements(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the AUC, and for each row the share of rows of the other class that are in the right order with it.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        At least one row is True and one False.
    score : ndarray of float64, shape (n_samples,)

    Returns
    -------
    auc : float
        Ties count half.
    placed : ndarray of float64, shape (n_samples,)
        DeLong's structural components V10 of the positive rows and V01 of the others; the mean of
        either is the AUC.
    """
    from scipy.stats import rankdata

    everywhere = rankdata(score)
    placed = np.empty(len(score))
    m = int(positive.sum())
    n = len(score) - m
    placed[positive] = (everywhere[positive] - rankdata(score[positive])) / n
    placed[~positive] = 1.0 - (everywhere[~positive] - rankdata(score[~positive])) / m
    return float(placed[positive].mean()), placed


def delong_covariance(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUCs of several models on the same independent rows, and their covariance.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
    scores : ndarray of float64, shape (n_models, n_samples)

    Returns
    -------
    aucs : ndarray of float64, shape (n_models,)
    covariance : ndarray of float64, shape (n_models, n_models)
        DeLong et al. (1988), equations 4 to 6: S10 / m + S01 / n.
    """
    found = [placements(positive, score) for score in scores]
    placed = np.stack([each for _, each in found])
    within = [np.atleast_2d(np.cov(placed[:, rows])) / rows.sum() for rows in (positive, ~positive)]
    return np.array([auc for auc, _ in found]), within[0] + within[1]


def influences(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the AUC and each row's influence on it: the placement minus the AUC, divided by the rows of its class.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_samples,)
        Class indices.
    scores : ndarray of float64, shape (n_samples, n_classes)
        With two classes, the second is the positive one. With more, the mean over the classes of
        each against the rest (scikit-learn's ``multi_class="ovr", average="macro"``).

    Returns
    -------
    auc : float
    moved : ndarray of float64, shape (n_samples,)
        The influences. Their sum is zero; the sum of their squares estimates the variance of the AUC.
    """
    n_classes = scores.shape[1]
    classes = [1] if n_classes == 2 else range(n_classes)
    aucs, moved = [], np.zeros(len(truth))
    for each in classes:
        positive = truth == each
        auc, placed = placements(positive, scores[:, each])
        aucs.append(auc)
        moved += (placed - auc) / np.where(positive, positive.sum(), (~positive).sum())
    return float(np.mean(aucs)), moved / len(aucs)


def error_by_block(moved: NDArray[np.float64], block: NDArray[np.intp]) -> float:
    """Return the standard error of a metric whose rows are dependent within blocks, independent between them.

    Obuchowski (1997): influences are summed within each block before they are squared. If each row is a block, this is
    DeLong's, up to a factor of n / (n - 1) in the weights.

    Parameters
    ----------
    moved : ndarray of float64, shape (n_samples,)
    block : ndarray of int, shape (n_samples,)
        From 0; at least two blocks.
    """
    sums = np.bincount(block, weights=moved)
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()))
