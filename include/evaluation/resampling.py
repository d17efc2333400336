"""The paired bootstrap in blocks of time, without a loop over resamples.

All metrics but two are functions of sums over rows. A resample draws blocks, so it needs only each
block's sums: a matrix product of how often each block is drawn with the sums. Average precision needs
the rows in order of score; sorted once, its sums up to each threshold are a matrix product too. (ROC
AUC has a closed form: `include.evaluation.delong`.)

Source: Efron, Tibshirani (1993), An introduction to the bootstrap, chapters 6 and 8.6.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import bin_of, said_and_true
from include.evaluation.metrics import Truth, normalised
from include.spec import Task

Floats = NDArray[np.float64]
FromSums = Callable[[Floats], dict[str, Floats]]
_SMALLEST = np.finfo(np.float64).eps  # scikit-learn clips probabilities there before it takes the logarithm
RESAMPLES_AT_ONCE = 200


def resampled_sums(rows: Floats, block: NDArray[np.intp], drawn: NDArray[np.float32]) -> Floats:
    """Return the column sums of each resample.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_samples, n_columns)
    block : ndarray of int, shape (n_samples,)
    drawn : ndarray, shape (n_resamples, n_blocks)
        How often each block is drawn.

    Returns
    -------
    ndarray of float64, shape (n_resamples, n_columns)
    """
    count = drawn.shape[1]
    by_block = np.stack([np.bincount(block, weights=column, minlength=count) for column in rows.T], axis=1)
    return np.asarray(drawn.astype(np.float64) @ by_block)


def row_terms(task: Task, truth: Truth, scores: Floats, threshold: float, quantile: float) -> tuple[Floats, FromSums]:
    """Return what to sum over rows, shape (n_samples, n_columns), and how metrics follow from the sums."""
    if task == "regression":
        error = scores[:, 0] - truth
        pinball = np.maximum(-quantile * error, (1 - quantile) * error)
        columns = [np.ones(len(truth)), np.abs(error), error**2, truth.astype(np.float64), truth**2, pinball]
        return np.stack(columns, axis=1), _values_from_sums
    classes = truth.astype(np.int64)
    probabilities = normalised(scores)
    n_classes = probabilities.shape[1]
    hit = classes[:, None] == np.arange(n_classes)
    answered = probabilities.argmax(axis=1)[:, None] == np.arange(n_classes)
    told = np.clip(probabilities[np.arange(len(classes)), classes], _SMALLEST, 1.0)
    squared = (probabilities - hit) ** 2
    brier = squared[:, 1] if task == "binary" else squared.sum(axis=1)
    called = probabilities[:, 1] >= threshold
    said, true = said_and_true(classes, probabilities)
    bins = bin_of(said)
    in_bin = bins[:, None] == np.arange(int(bins.max()) + 1)
    columns = [np.ones(len(classes)), -np.log(told), brier, hit[:, 1] & called, hit[:, 1], called]
    parts = [np.stack(columns, axis=1), hit & answered, hit, answered, in_bin * (said - true)[:, None], in_bin]
    return np.concatenate(parts, axis=1).astype(np.float64), lambda sums: _classes_from_sums(task, sums, n_classes)


def _values_from_sums(sums: Floats) -> dict[str, Floats]:
    rows, absolute, squared, total, total_squared, pinball = sums.T
    return {
        "mae": absolute / rows,
        "rmse": np.sqrt(squared / rows),
        "r2": 1 - _share(squared, total_squared - total**2 / rows),
        "pinball": pinball / rows,
    }


def _classes_from_sums(task: Task, sums: Floats, n_classes: int) -> dict[str, Floats]:
    rows, log_loss, brier, both, positive, called = sums[:, :6].T
    rest = sums[:, 6:]
    right, true, answered = (rest[:, i * n_classes : (i + 1) * n_classes] for i in range(3))
    gaps, in_bin = np.split(rest[:, 3 * n_classes :], 2, axis=1)
    accuracy = right.sum(axis=1) / rows
    found = {
        "log_loss": log_loss / rows,
        "brier": brier / rows,
        "ece": np.abs(gaps).sum(axis=1) / rows,
        "mce": _share(np.abs(gaps), in_bin).max(axis=1),
        "accuracy": accuracy,
        "macro_f1": _share(2 * right, true + answered).mean(axis=1),
    }
    # With one label a row, false positives are false negatives of another class: micro F1 is the accuracy.
    return found | ({"f1": _share(2 * both, positive + called)} if task == "binary" else {"micro_f1": accuracy})


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def resampled_precision(
    truth: NDArray[np.int64], scores: Floats, block: NDArray[np.intp], drawn: NDArray[np.float32]
) -> Floats:
    """Return the average precision of each resample, shape (n_resamples,): of several classes, their mean.

    It is the sum over thresholds of the gain in recall times the precision there, as scikit-learn's
    ``average_precision_score`` defines it. A resample without a positive row gives NaN.
    """
    n_classes = scores.shape[1]
    classes = [1] if n_classes == 2 else range(n_classes)
    each = [_precision_of(truth == label, scores[:, label], block, drawn) for label in classes]
    return np.asarray(np.mean(each, axis=0))


def _precision_of(
    positive: NDArray[np.bool_], score: Floats, block: NDArray[np.intp], drawn: NDArray[np.float32]
) -> Floats:
    order = np.argsort(-score, kind="stable")
    score, positive, block = score[order], positive[order], block[order]
    # Precision counts only where recall grows: at the last row of each tie that holds a positive one.
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    ends = ends[np.diff(np.cumsum(positive)[ends], prepend=0) > 0]
    # Counts stay below 2**24, which single precision holds exactly.
    hits = np.empty((len(ends), drawn.shape[1]), dtype=np.float32)
    rows = np.empty_like(hits)
    for each in range(drawn.shape[1]):
        inside = block == each
        rows[:, each] = np.cumsum(inside)[ends]
        hits[:, each] = np.cumsum(inside & positive)[ends]
    found = np.empty(len(drawn))
    for start in range(0, len(drawn), RESAMPLES_AT_ONCE):
        times = drawn[start : start + RESAMPLES_AT_ONCE].T
        hit, seen = hits @ times, rows @ times
        gained = np.diff(hit, axis=0, prepend=np.float32(0))
        precision = np.divide(hit, seen, out=np.zeros_like(hit), where=seen > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[start : start + times.shape[1]] = (gained * precision).sum(axis=0, dtype=np.float64) / hit[-1]
    return found
