"""The curves and histograms of the model card, computed from the same scores as the metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import predicted_and_observed, reliability
from include.evaluation.predictions import Floats, Truth, normalised
from include.evaluation.slice_finder import row_losses
from include.inference import Scorer, score_with_progress
from include.progress import SILENT, Progress
from include.records import Bin, CardData, Curve, Importance
from include.spec import ModelSpec, Task

MAX_POINTS = 200
BARS = 30
IMPORTANCE_ROWS = 5_000
REPEATS = 3


def card_data(
    spec: ModelSpec,
    truth: Truth,
    scores: Mapping[str, Floats],
    scorer: Scorer,
    matrix: NDArray[np.float32],
    progress: Progress = SILENT,
) -> CardData:
    """Compute curves, histograms and importances on the holdout.

    Parameters
    ----------
    scores : mapping of str to ndarray
        By model: ``candidate``, ``baseline`` and, if there is one, ``champion``.
    scorer, matrix
        The candidate and its encoded holdout rows, shape (n_samples, n_features).
    progress : Progress
    """
    drawn = CardData(
        model=spec.name,
        importances=importances(spec, truth, scorer, matrix, progress),
        importance_loss="mean absolute error" if spec.task == "regression" else "log loss",
        importance_rows=min(len(matrix), IMPORTANCE_ROWS),
    )
    if spec.task == "regression":
        values = {model: each[:, 0].astype(np.float64) for model, each in scores.items()}
        return drawn.model_copy(
            update={
                "calibration": {model: reliability(each, truth.astype(np.float64)) for model, each in values.items()},
                "residuals": {model: histogram(each - truth) for model, each in values.items()},
                "scores": histogram(values["candidate"]),
            }
        )
    classes = truth.astype(np.int64)
    scored = {model: normalised(each) for model, each in scores.items()}
    lines = dict(_positives(spec, classes, scored))
    predicted = scored["candidate"][:, 1] if spec.task == "binary" else scored["candidate"].max(axis=1)
    return drawn.model_copy(
        update={
            "roc": {name: roc(*each) for name, each in lines.items()},
            "precision_recall": {name: precision_recall(*each) for name, each in lines.items()},
            "calibration": {
                model: reliability(*predicted_and_observed(classes, each)) for model, each in scored.items()
            },
            "confusion": confusion(classes, scorer.signature.labels(scores["candidate"]), len(spec.target.classes)),
            "scores": histogram(predicted),
        }
    )


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.intp], count: int) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of rows by true class, and by predicted class within it."""
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (truth, predicted), 1)
    return tuple(tuple(row) for row in table.tolist())


def roc(positive: NDArray[np.bool_], score: Floats) -> Curve:
    """Return false positive rate against true positive rate."""
    from sklearn.metrics import roc_curve

    return downsample(*roc_curve(positive, score)[:2])


def precision_recall(positive: NDArray[np.bool_], score: Floats) -> Curve:
    """Return recall against precision, in order of rising recall."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, score)
    return downsample(recall[::-1], precision[::-1])


def downsample(x: Floats, y: Floats) -> Curve:
    """Return at most 200 points of a line, evenly spaced along the line, with both ends."""
    way = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], MAX_POINTS - 1)))
    kept = np.unique(np.append(np.minimum(kept, len(x) - 1), (0, len(x) - 1)))[:MAX_POINTS]
    return Curve(x=tuple(np.round(x[kept], 6).tolist()), y=tuple(np.round(y[kept], 6).tolist()))


def histogram(values: Floats) -> tuple[Bin, ...]:
    """Return thirty bars of equal width between the 0.5th and the 99.5th percentile; the outermost hold the rest."""
    low, high = np.quantile(values, (0.005, 0.995))
    counts, edges = np.histogram(np.clip(values, low, high), bins=BARS)
    return tuple(Bin(low=float(edges[i]), high=float(edges[i + 1]), rows=int(count)) for i, count in enumerate(counts))


def importances(
    spec: ModelSpec, truth: Truth, scorer: Scorer, matrix: NDArray[np.float32], progress: Progress = SILENT
) -> tuple[Importance, ...]:
    """Return the increase of the candidate's loss when one feature is shuffled, the largest first.

    At most 5,000 rows, evenly spaced in time, are used; each feature is shuffled three times with a seed. One batch
    predicts all features of a repeat.

    Source: Breiman (2001), Random forests. Machine Learning 45, section 10; model-agnostic as in
    Fisher, Rudin, Dominici (2019).
    """
    rows = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), IMPORTANCE_ROWS)).astype(int))
    few, known = matrix[rows], truth[rows]
    count, width = few.shape
    as_is = _mean_loss(spec.task, known, scorer.score(few))
    random = np.random.default_rng(spec.seed)
    grown = np.empty((REPEATS, width))
    for repeat in range(REPEATS):
        shuffled = np.tile(few, (width, 1))
        order = random.permutation(count)
        for position in range(width):
            shuffled[position * count : (position + 1) * count, position] = few[order, position]
        answers = score_with_progress(scorer, shuffled, "shuffled, for feature importance", progress).reshape(
            width, count, -1
        )
        grown[repeat] = [_mean_loss(spec.task, known, each) - as_is for each in answers]
    found = zip(scorer.signature.names, grown.mean(axis=0), grown.std(axis=0), strict=True)
    ordered = sorted(found, key=lambda each: -each[1])
    return tuple(Importance(feature=name, mean=float(mean), spread=float(spread)) for name, mean, spread in ordered)


def _mean_loss(task: Task, truth: Truth, scores: Floats) -> float:
    return float(row_losses(task, truth, scores).mean())


def _positives(
    spec: ModelSpec, truth: NDArray[np.int64], scored: Mapping[str, Floats]
) -> list[tuple[str, tuple[NDArray[np.bool_], Floats]]]:
    """Return the lines to draw: the positive class of each model, or each class of the candidate."""
    if spec.task == "binary":
        lines = [(model, (truth == 1, each[:, 1])) for model, each in scored.items()]
    else:
        ours = scored["candidate"]
        lines = [(f"candidate: {c}", (truth == i, ours[:, i])) for i, c in enumerate(spec.target.classes)]
    return [(name, each) for name, each in lines if 0 < each[0].sum() < len(truth)]
