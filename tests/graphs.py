"""ONNX graphs that ONNX Runtime loads, and then fails to run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 15  # an opset that every version of ONNX Runtime in use knows


def failing_graph(width: int, outputs: int, *, known: int = 0) -> bytes:
    """Return a graph that looks each value up in a table in which `known` alone stands.

    At any other value it fails, as a graph does that was made for other rows: at a row of zeros, too, unless `known`
    is 0. A value one below passes for it, since indices count from the end as well. All classes are equally probable.
    """
    constants = {"table": np.zeros(1, np.float32), "weights": np.zeros((width, outputs), np.float32)}
    constants["known"], constants["equal"] = np.array(known, np.int64), np.full(outputs, 1 / outputs, np.float32)
    nodes = [
        helper.make_node("Cast", ["X"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["whole", "known"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["found"]),
        helper.make_node("MatMul", ["found", "weights"], ["zeros"]),
        helper.make_node("Add", ["zeros", "equal"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fails",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, outputs])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


def with_graph(source: Path, folder: Path, graph: bytes) -> Path:
    """Copy the candidate `source` to `folder`, with `graph` instead of its own."""
    shutil.copytree(source, folder)
    (folder / "model.onnx").write_bytes(graph)
    return folder


def answering(answers: np.ndarray) -> bytes:
    """Return a graph of four features that answers a row with the row of `answers` that its first feature says."""
    nodes = [
        helper.make_node("Cast", ["X"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Gather", ["whole", "first"], ["row"], axis=1),
        helper.make_node("Gather", ["answers", "row"], ["scores"]),
    ]
    constants = {"answers": np.asarray(answers, np.float64), "first": np.array(0, np.int64)}
    graph = helper.make_graph(
        nodes,
        "answers",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, answers.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 8
    return bytes(made.SerializeToString())
