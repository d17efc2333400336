"""Converts a fitted estimator to ONNX, or raises an error that names the step that does not convert."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from include.errors import ConversionError
from include.spec import ModelSpec
from include.training.tree_splits import with_row_order

OPSET = 18


def export_onnx(spec: ModelSpec, estimator: Any) -> bytes:
    """Convert a fitted estimator.

    Returns
    -------
    bytes
        A graph with one input ``X``, float32 of shape (n, n_features), whose last output is the
        probabilities of shape (n, n_classes), or the value of shape (n, 1).

    Raises
    ------
    ConversionError
        When a step does not convert, or is known to convert wrongly.
    """
    _reject_unfaithful_steps(spec, estimator)
    try:
        onnx = convert(estimator, len(spec.features), name=spec.name)
    except Exception as error:  # skl2onnx raises whatever its converters raise
        step, reason = _unconvertible_step(estimator, len(spec.features), str(error))
        raise ConversionError(
            spec.name,
            step,
            f"it does not convert to ONNX ({reason.strip().splitlines()[0][:200]})",
            "Use a step that skl2onnx converts, or do its work in features.sql.",
        ) from error
    return with_row_order(onnx)  # outside the try: an error here is not one of the estimator's steps


def convert(estimator: Any, n_features: int, name: str = "model") -> bytes:
    """Convert one fitted estimator or transformer with skl2onnx."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about defaults of opsets that we fix ourselves
        graph = to_onnx(
            estimator,
            initial_types=[("X", FloatTensorType([None, n_features]))],
            options=options,
            target_opset=OPSET,
            name=name,
        )
    return bytes(graph.SerializeToString())


def iter_steps(estimator: Any, path: str = "", *, fitted: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield every part of an estimator with a readable path, outermost first.

    Parameters
    ----------
    fitted : bool
        Whether to include the estimators that searches, calibrators and ensembles have fitted.
    """
    here = f"{path} ({type(estimator).__name__})" if path else type(estimator).__name__
    yield here, estimator
    prefix = f"{path}." if path else ""
    named = list(getattr(estimator, "steps", []))
    named += [(name, part) for name, part, _ in getattr(estimator, "transformers_", [])]
    named += list(getattr(estimator, "transformer_list", []))
    if fitted:
        named += [(name, getattr(part, "estimator", part)) for name, part in _fitted_parts(estimator)]
    for name, part in named:
        if hasattr(part, "get_params"):
            yield from iter_steps(part, f"{prefix}{name}", fitted=fitted)


def _fitted_parts(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Yield the estimators that an estimator has fitted; the templates that it was given are not fitted."""
    for name in ("best_estimator_", "estimator_", "final_estimator_"):
        if hasattr(estimator, name):
            yield name, getattr(estimator, name)
    for name in ("estimators_", "calibrated_classifiers_"):
        parts = getattr(estimator, name, [])
        # Gradient boosting keeps a table of trees; a list must stay one, since a pipeline in it has a length, too.
        for position, part in enumerate(parts.ravel() if hasattr(parts, "ravel") else parts):
            yield f"{name}[{position}]", part


def _reject_unfaithful_steps(spec: ModelSpec, estimator: Any) -> None:
    """Reject steps that convert without an error to a graph with other answers; see tests/training/test_export.py."""
    if spec.task != "regression" and not hasattr(estimator, "predict_proba"):
        raise ConversionError(
            spec.name,
            type(estimator).__name__,
            "it has no predict_proba, and a classification is served as probabilities",
            "Use an estimator with probabilities, or wrap it in CalibratedClassifierCV.",
        )
    for step, part in iter_steps(estimator, fitted=True):
        if getattr(part, "add_indicator", False):
            raise ConversionError(
                spec.name,
                step,
                "an imputer with add_indicator=True converts without an error to a graph that answers wrongly",
                "Set add_indicator=False and add the indicators as boolean features in features.sql.",
            )
        if getattr(part, "is_categorical_", None) is not None:
            raise ConversionError(
                spec.name,
                step,
                "native categorical_features do not convert to ONNX, or convert to a graph that answers wrongly",
                "Leave categorical_features out: categories come as ordinal codes already.",
            )


def _unconvertible_step(estimator: Any, n_features: int, message: str) -> tuple[str, str]:
    """Name the innermost part that does not convert by itself."""
    culprit = (type(estimator).__name__, message)
    for step, part in iter_steps(estimator):
        if any(hasattr(part, name) for name in ("steps", "transformers_", "transformer_list")):
            continue
        try:
            convert(part, getattr(part, "n_features_in_", n_features))
        except Exception as error:  # noqa: BLE001  # the point is to find which one raises, whatever it raises
            return step, str(error)
    return culprit
