"""Converts a fitted estimator to ONNX, or raises an error that names the step that does not convert."""

from __future__ import annotations

from typing import Any

from include.errors import ConversionError
from include.spec import ModelSpec
from include.training.conversion import Method, UnconvertibleStepError, convert
from include.training.estimator import last_step_name
from include.training.tree_splits import with_row_order


def export_onnx(spec: ModelSpec, estimator: Any) -> bytes:
    """Convert a fitted estimator.

    Returns
    -------
    bytes
        A graph with one input ``X``, float32 of shape (n, n_features), and one output: the probabilities of shape
        (n, n_classes), or the value of shape (n, 1).

    Raises
    ------
    ConversionError
        When a step does not convert.
    """
    if spec.task != "regression" and not hasattr(estimator, "predict_proba"):
        raise ConversionError(
            spec.name,
            last_step_name(estimator),
            "it has no predict_proba, and a classification is served as probabilities",
            "Use an estimator with probabilities, or wrap it in CalibratedClassifierCV.",
        )
    method: Method = "predict" if spec.task == "regression" else "predict_proba"
    try:
        graph = convert(estimator, len(spec.features), method, name=spec.name)
    except UnconvertibleStepError as error:
        raise ConversionError(spec.name, error.step, error.reason, error.advice) from error
    return with_row_order(graph)
