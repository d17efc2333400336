"""The steps that this package does not convert itself: skl2onnx converts each alone."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

from include.errors import TimeLimitError, WorkerDiedError
from include.time_limit import run_with_time_limit
from include.training.conversion.graph import OPSET, Tensor
from include.training.conversion.registry import Conversion, Method

# Their trees are in single precision, and this operator is no longer in the version of the domain that graphs have.
_ML_OPSET: Final = 3
TIMEOUT_SECONDS: Final = 60
"""For one step. skl2onnx needs some seconds; where it needs minutes, it needs hours."""


def convert_by_skl2onnx(conversion: Conversion, step: Any, method: Method, x: Tensor) -> Tensor:
    """Add one step, converted by skl2onnx; refuse it if it does not convert."""
    if method == "decision_function":
        conversion.refuse("its decision_function has no converter", "Use an estimator with predict_proba.")
    try:
        serialized, width = run_with_time_limit(
            lambda: _converted(step, method, x), seconds=TIMEOUT_SECONDS, step=f"conversion of {conversion.path}"
        )
    except TimeLimitError:
        conversion.refuse(
            f"its conversion took longer than {TIMEOUT_SECONDS} s, and was stopped",
            "Use a step of docs/reference/estimators.md that converts, or do its work in features.sql.",
        )
    except WorkerDiedError:  # not for what it was given: a retry may succeed
        raise
    except Exception as error:  # noqa: BLE001  # skl2onnx raises whatever its converters raise
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        conversion.refuse(
            f"it does not convert to ONNX ({message[:200]})",
            "Use a step of docs/reference/estimators.md that converts, or do its work in features.sql.",
        )
    model = onnx.load_from_string(serialized)
    return conversion.graph.embed(model, x, len(model.graph.output) - 1, width)


def _converted(step: Any, method: Method, x: Tensor) -> tuple[bytes, int]:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if x.dtype == "float64" else FloatTensorType
    options = {id(step): {"zipmap": False}} if method == "predict_proba" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about defaults of opsets that are set here
        model = to_onnx(
            step,
            initial_types=[("X", kind([None, x.width]))],
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": _ML_OPSET},
        )
    if any(node.op_type.startswith("TreeEnsemble") for node in model.graph.node):
        raise ValueError("its trees come in an old form")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"X": np.ones((2, x.width), dtype=x.dtype)})[-1]  # a graph that cannot run is no graph
    return bytes(model.SerializeToString()), int(np.size(found)) // 2
