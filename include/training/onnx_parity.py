"""Compares the ONNX graph with the estimator on the whole holdout, and finds the first step that differs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.inference import Scorer
from include.records import ParityReport
from include.training.export import convert

SINGLE_ROWS = 200
COLLAPSED_SHARE = 0.01


def expected_scores(estimator: Any, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return scikit-learn's own answers, shape (n, n_classes), or (n, 1) for a regression."""
    answer = estimator.predict_proba(matrix) if hasattr(estimator, "predict_proba") else estimator.predict(matrix)
    return np.asarray(answer, dtype=np.float64).reshape(len(matrix), -1)


def compare(scorer: Scorer, estimator: Any, matrix: NDArray[np.float32], tolerance: float) -> ParityReport:
    """Compare ONNX with scikit-learn on every row of `matrix`, shape (n_samples, n_features).

    The difference is of probabilities, or, for a regression, relative to the largest absolute
    prediction.
    """
    got, wanted = scorer.score(matrix), expected_scores(estimator, matrix)
    scale = 1.0
    # A tie within the tolerance (a forest split ten trees to ten) may fall either way: no change of label.
    answered = np.take_along_axis(wanted, got.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    changed = int((wanted.max(axis=1) - answered > tolerance).sum())
    if scorer.signature.task == "regression":
        scale, changed = max(1e-12, float(np.abs(wanted).max())), 0
    few = matrix[:SINGLE_ROWS]
    alone = np.concatenate([scorer.score(few[i : i + 1]) for i in range(len(few))])
    return ParityReport(
        rows=len(matrix),
        largest_difference=float(np.abs(got - wanted).max()) / scale,
        changed_labels=changed,
        tolerance=tolerance,
        single_row_exact=bool((alone == scorer.score(few)).all()),
    )


def find_divergent_step(estimator: Any, matrix: NDArray[np.float32], tolerance: float) -> str:
    """Return the first step of a pipeline after which ONNX and scikit-learn differ, or else the whole estimator."""
    import onnxruntime

    steps = getattr(estimator, "steps", [])
    for position in range(1, len(steps)):
        name, step = steps[position - 1]
        prefix = estimator[:position]
        session = onnxruntime.InferenceSession(convert(prefix, matrix.shape[1]), providers=["CPUExecutionProvider"])
        got = session.run(None, {"X": matrix})[0]
        wanted = prefix.transform(matrix)
        wanted = wanted.toarray() if hasattr(wanted, "toarray") else np.asarray(wanted)
        scale = max(1.0, float(np.nanmax(np.abs(wanted))))
        if got.shape != wanted.shape or not np.allclose(got, wanted, atol=tolerance * scale, rtol=0, equal_nan=True):
            return f"{name} ({type(step).__name__})"
    last = steps[-1] if steps else ("", estimator)
    return f"{last[0]} ({type(last[1]).__name__})" if steps else type(estimator).__name__


def find_collapsed_columns(matrix: NDArray[np.float32]) -> list[int]:
    """Return the columns in which many values are neighbours in single precision.

    In ONNX, a tree's threshold half-way between two neighbours is rounded to one of them, and then one of the two is
    on the wrong side.
    """
    found = []
    for position in range(matrix.shape[1]):
        values = np.unique(matrix[:, position])
        values = values[np.isfinite(values)]
        touching = np.nextafter(values[:-1], np.float32(np.inf)) == values[1:]
        if touching.size and touching.mean() > COLLAPSED_SHARE:
            found.append(position)
    return found
