"""Builds an ONNX graph node by node, and keeps the type that each value has in scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 18
ML_OPSET: Final = 5
IR_VERSION: Final = 10
ML_DOMAIN: Final = "ai.onnx.ml"

_ELEMENT_TYPES: Final = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph, of shape (n, width).

    Parameters
    ----------
    name : str
    width : int
        The number of columns.
    dtype : {"float32", "float64", "int64"}
        The type that scikit-learn has at this place. Comparisons depend on it, so it is never changed silently.
    sparse : bool
        Whether scikit-learn has a sparse matrix at this place, whose zeros XGBoost takes for missing.
    """

    name: str
    width: int
    dtype: str
    sparse: bool = False


class Graph:
    """A graph in the making. Its input is ``X``, float32 of shape (n, width)."""

    def __init__(self, width: int) -> None:
        self.input = Tensor("X", width, "float32")
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        # Sums, powers and logarithms, and all that follows from them: equal to scikit-learn's to some last bits, too
        # little for a threshold to decide the same. By the precision in which scikit-learn computes them: rounded to
        # single precision, what was computed in double is equal.
        self.inexact: dict[str, set[str]] = {"float32": set(), "float64": set()}
        self._casts: dict[tuple[str, str], Tensor] = {}
        self._names = 0

    def name(self, stem: str) -> str:
        """Return a name that is not used yet."""
        self._names += 1
        return f"{stem}_{self._names}"

    def constant(self, values: Any, dtype: str = "float64") -> str:
        """Return the name of a constant; equal ones are stored once."""
        array = np.ascontiguousarray(values, dtype=dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self.initializers:
            self.initializers[key] = numpy_helper.from_array(array, self.name("constant"))
        return self.initializers[key].name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = self.name(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        rounds = op == "Cast" and attributes["to"] == TensorProto.FLOAT
        for precision, names in self.inexact.items():
            if names.intersection(inputs) and not (rounds and precision == "float64"):
                names.add(output)
        if op in ("Pow", "Log"):
            self.inexact["float64"].add(output)
        return output

    def as_inexact(self, x: Tensor, precision: str = "") -> Tensor:
        """Note that scikit-learn's `x` differs by some last bits: of that precision, or of the type of `x`."""
        self.inexact[precision or x.dtype].add(x.name)
        return x

    def last_bit(self, x: Tensor) -> float:
        """Return the relative size of the last bit in which `x` may differ from scikit-learn's; 0: in none."""
        for precision in ("float32", "float64"):
            if x.name in self.inexact[precision]:
                return float(np.finfo(precision).eps)
        return 0.0

    # Values in scikit-learn's types

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """Return `x` as `dtype`; rounded, if that is single precision."""
        if x.dtype == dtype:
            return x
        key = (x.name, dtype)
        if key not in self._casts:
            name = self.node("Cast", x.name, to=_ELEMENT_TYPES[dtype])
            self._casts[key] = Tensor(name, x.width, dtype, x.sparse)
        return self._casts[key]

    def elementwise(self, op: str, x: Tensor, values: Any) -> Tensor:
        """Apply a binary operator with a row of constants, in double, and round to the type of `x`.

        NumPy does so for ``x -= values``, where `x` is single and `values` are double.
        """
        wide = self.cast(x, "float64")
        width = max(x.width, np.size(values))
        name = self.node(op, wide.name, self.constant(np.reshape(values, (1, -1))))
        return self.cast(Tensor(name, width, "float64", x.sparse and op in ("Mul", "Div")), x.dtype)

    def binary(self, op: str, left: Tensor, right: Tensor) -> Tensor:
        """Apply a binary operator to two tensors of the same type."""
        return Tensor(self.node(op, left.name, right.name), max(left.width, right.width), left.dtype)

    def unary(self, op: str, x: Tensor) -> Tensor:
        """Apply an operator to every element."""
        return Tensor(self.node(op, x.name), x.width, x.dtype)

    def columns(self, x: Tensor, positions: Sequence[int]) -> Tensor:
        """Return the columns at `positions`, in their order."""
        wanted = [int(each) for each in positions]
        if wanted == list(range(x.width)):
            return x
        index = self.constant(wanted, "int64")
        return Tensor(self.node("Gather", x.name, index, axis=1), len(wanted), x.dtype, x.sparse)

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        """Put tensors side by side, in the widest of their types."""
        if len(parts) == 1:
            return parts[0]
        dtype = "float64" if any(each.dtype != "float32" for each in parts) else "float32"
        names = [self.cast(each, dtype).name for each in parts]
        width, sparse = sum(each.width for each in parts), any(each.sparse for each in parts)
        return Tensor(self.node("Concat", *names, axis=1), width, dtype, sparse)

    def where(self, condition: str, x: Tensor, values: Any) -> Tensor:
        """Return a row of constants where `condition` holds, and `x` elsewhere."""
        row = self.constant(np.reshape(np.asarray(values, dtype=x.dtype), (1, -1)), x.dtype)
        return Tensor(self.node("Where", condition, row, x.name), x.width, x.dtype)

    def numbers(self, mask: str, width: int, dtype: str = "float64") -> Tensor:
        """Return 1 where `mask` holds, and 0 elsewhere."""
        return Tensor(self.node("Cast", mask, to=_ELEMENT_TYPES[dtype]), width, dtype)

    def is_nan(self, x: Tensor) -> str:
        """Return the mask of missing values."""
        return self.node("IsNaN", x.name)

    def affine(self, x: Tensor, matrix: NDArray[Any], offset: Any = 0.0, *, exact: bool = False) -> Tensor:
        """Return ``x @ matrix + offset`` in double; `matrix` of shape (width, outputs).

        Its bits do not depend on the number of rows: measured for 1 to 1,000 rows. They depend on the order of the sum,
        unless it is `exact`: of whole numbers, or of one number that is not 0.
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        found = self.node("MatMul", self.cast(x, "float64").name, self.constant(matrix))
        if not exact:
            self.inexact[x.dtype].add(found)
        if np.any(offset):
            found = self.node("Add", found, self.constant(np.reshape(offset, (1, -1))))
        return Tensor(found, matrix.shape[1], "float64")

    def row_sum(self, x: Tensor) -> Tensor:
        """Return the sum of each row, in double.

        As a product: the order in which ReduceSum adds depends on where a row lies in memory.
        """
        return self.affine(x, np.ones((x.width, 1)))

    # Functions whose kernels work on several numbers at once give a row other bits at the end of a batch. Pow does not.

    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power of each element, in double; the same bits in a batch of any size."""
        wide = self.cast(x, "float64")
        return Tensor(self.node("Pow", self.constant([[np.e]]), wide.name), x.width, "float64")

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x)), in double."""
        powers = self.node("Pow", self.constant([[1 / np.e]]), self.cast(x, "float64").name)
        one = self.constant([[1.0]])
        return Tensor(self.node("Div", one, self.node("Add", powers, one)), x.width, "float64")

    def of_two_classes(self, x: Tensor) -> Tensor:
        """Return ``[1 - sigmoid(x), sigmoid(x)]`` of shape (n, 2), for `x` of shape (n, 1), in double.

        The first as scikit-learn has it, and not as sigmoid(-x): next to 1 they differ in the last bit, which can be
        that of a tie in an average.
        """
        return self.with_complement(self.sigmoid(x))

    def softmax(self, x: Tensor) -> Tensor:
        """Return exp(x) of each row, divided by its sum, in double."""
        wide = self.cast(x, "float64")
        highest = self.node("ReduceMax", wide.name, self.constant([1], "int64"), keepdims=1)
        powers = self.exp(Tensor(self.node("Sub", wide.name, highest), x.width, "float64"))
        return self.divided_by_sum(powers)

    def divided_by_sum(self, x: Tensor) -> Tensor:
        """Return each row divided by its sum, in double."""
        wide = self.cast(x, "float64")
        return self.binary("Div", wide, self.row_sum(wide))

    def with_complement(self, positive: Tensor) -> Tensor:
        """Return ``[1 - p, p]`` for the probability of the second class, shape (n, 1)."""
        negative = self.node("Sub", self.constant([[1.0]]), positive.name)
        return Tensor(self.node("Concat", negative, positive.name, axis=1), 2, positive.dtype)

    def embed(self, model: onnx.ModelProto, x: Tensor, output: int, width: int) -> Tensor:
        """Add the nodes of another graph that takes `x`, and return its output at that position."""
        from onnx import compose

        prefix = self.name("converted") + "_"
        added = compose.add_prefix(model, prefix)
        source, target = added.graph.input[0].name, added.graph.output[output]
        for node in added.graph.node:
            node.input[:] = [x.name if name == source else name for name in node.input]
        self.nodes += added.graph.node
        for each in added.graph.initializer:
            self.initializers[("foreign", (), each.name.encode())] = each
        double = target.type.tensor_type.elem_type == TensorProto.DOUBLE
        self.inexact[x.dtype].add(target.name)
        return Tensor(target.name, width, "float64" if double else "float32")

    def to_bytes(self, output: Tensor, name: str) -> bytes:
        """Return the model, with the nodes that lead to `output` and no others."""
        wanted, kept = {output.name}, []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        element = _ELEMENT_TYPES[output.dtype]
        graph = helper.make_graph(
            kept[::-1],
            name,
            [helper.make_tensor_value_info(self.input.name, TensorProto.FLOAT, [None, self.input.width])],
            [helper.make_tensor_value_info(output.name, element, [None, output.width])],
            [each for each in self.initializers.values() if each.name in wanted],
        )
        opsets = {"": OPSET, ML_DOMAIN: ML_OPSET}
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
            ir_version=IR_VERSION,
            producer_name="sluice",
        )
        return bytes(model.SerializeToString())
