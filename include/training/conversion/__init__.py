"""A fitted estimator becomes an ONNX graph that answers as it does.

Each class has a converter of its own here, in the module that is named after what it does, and computes in the
precision in which scikit-learn computes: trees, sums and links in double, scalers rounded where scikit-learn rounds.
What has no converter here is given to skl2onnx, that step alone. Whether the graph is right is not believed:
`include.training.onnx_parity` compares it with the estimator.
"""

from __future__ import annotations

from typing import Any

from include.training.conversion import boosters, composition, ensemble, linear_model, preprocessing, svm
from include.training.conversion.graph import Graph, Tensor
from include.training.conversion.registry import Conversion, Method, UnconvertibleStepError

_REGISTERED = (boosters, composition, ensemble, linear_model, preprocessing, svm)


def convert(estimator: Any, n_features: int, method: Method, name: str = "model") -> bytes:
    """Convert one method of a fitted estimator.

    Parameters
    ----------
    method : {"predict_proba", "predict", "transform", "decision_function"}

    Returns
    -------
    bytes
        A graph with the input ``X``, float32 of shape (n, n_features), and one output.

    Raises
    ------
    UnconvertibleStepError
        Naming the step.
    """
    graph = Graph(n_features)
    conversion = Conversion(graph)
    found: Tensor = getattr(conversion, method)(estimator, graph.input)
    if method == "predict_proba" and found.dtype == "float32":
        found = graph.divided_by_sum(found)  # those of single precision do not add up to 1 in double
    return graph.to_bytes(found, name)


__all__ = ["Method", "UnconvertibleStepError", "convert"]
