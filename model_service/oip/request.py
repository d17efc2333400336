"""The bytes and headers of an inference request become columns, and a wish for outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from include.inference import Column, Signature
from include.spec import Boolean, Categorical, Numeric
from model_service.errors import TensorsRejectedError, TooLargeError
from model_service.oip.head import TensorHead, split
from model_service.oip.tensors import BYTES, DATATYPES, NUMPY_TYPES, UnfitTensorError, from_binary, from_json

MATRIX_NAMES: Final = ("X", "features")  # of the one tensor that all-numeric models take too
_NUMBERS: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind in "iuf")
_FLOATS: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind == "f")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What is asked.

    Attributes
    ----------
    id : str or None
    columns : mapping of str to Column
        One a feature, each of `rows` values.
    rows : int
    path_of : callable or None
        Names row i of feature j, where that is not ``inputs.<feature>[i]``.
    outputs : tuple of (name, whether in binary form)
        Empty: all of them, in the form that `binary` says.
    binary : bool
    """

    id: str | None
    columns: Mapping[str, Column]
    rows: int
    path_of: Callable[[int, int], str] | None
    outputs: tuple[tuple[str, bool], ...]
    binary: bool


def request_of(
    body: bytes, head_bytes: str | None, signature: Signature, most_rows: int, most_depth: int
) -> InferRequest:
    """Read an inference request.

    Parameters
    ----------
    body : bytes
        Not compressed.
    head_bytes : str or None
        The header ``Inference-Header-Content-Length``: so many bytes of JSON stand before the binary tensors.
    signature : Signature
        Of the model that is asked.
    most_rows, most_depth : int
        What is taken at most, of rows and of levels of JSON.

    Raises
    ------
    MalformedBodyError
        If the JSON part is nested too deeply.
    TensorsRejectedError
        If it is not a request of the protocol, or its tensors are not those that the model takes.
    TooLargeError
        If there are more than `most_rows` rows.
    """
    head, rest = split(body, head_bytes, most_depth)
    tensors = _tensors(head.inputs, rest)
    binary = _flag(head.parameters, "binary_data_output", default=False, where="parameters")
    outputs = tuple(
        (each.name, _flag(each.parameters, "binary_data", default=binary, where=f"output '{each.name[:60]}'"))
        for each in head.outputs
    )
    matrix = _matrix(head.inputs, signature)
    if matrix is not None:
        rows = matrix.shape[0]
        _check_rows(rows, most_rows)
        columns, path_of = _columns_of(matrix, tensors[matrix.name], signature), _path_in(matrix.name)
        return InferRequest(head.id, columns, rows, path_of, outputs, binary)
    rows = _rows_of(head.inputs, signature)
    _check_rows(rows, most_rows)
    return InferRequest(head.id, tensors, rows, None, outputs, binary)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool, where: str) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise TensorsRejectedError([f"{where}: {name} must be true or false"])
    return value


def _tensors(heads: list[TensorHead], rest: memoryview) -> dict[str, Column]:
    """Return the data of each input by its name; binary ones lie one after the other in `rest`."""
    tensors: dict[str, Column] = {}
    faults: list[str] = []
    at = 0
    for head in heads:
        try:
            size = _size_of(head, len(rest) - at)
            tensors[head.name] = _json_column(head) if size is None else _binary_column(head, rest[at : at + size])
            at += size or 0
        except UnfitTensorError as unfit:
            faults.append(f"input '{head.name[:60]}': {unfit}")
    if not faults and len(tensors) != len(heads):
        faults.append("an input is given twice")
    if not faults and at != len(rest):
        faults.append(f"{len(rest) - at} byte(s) after the JSON part belong to no input")
    if faults:
        raise TensorsRejectedError(faults)
    return tensors


def _size_of(head: TensorHead, left: int) -> int | None:
    size = head.parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or not 0 <= size <= left):
        raise UnfitTensorError(f"binary_data_size must be a number of bytes that follow; found {str(size)[:20]}")
    return size


def _json_column(head: TensorHead) -> Column:
    _check_head(head)
    if not head.data:
        raise UnfitTensorError("expected data, or parameters.binary_data_size")
    return from_json(head.data, head.datatype, head.shape)


def _binary_column(head: TensorHead, data: memoryview) -> Column:
    _check_head(head)
    if head.data:
        raise UnfitTensorError("it has both data and parameters.binary_data_size")
    return from_binary(data, head.datatype, prod(head.shape))


def _check_head(head: TensorHead) -> None:
    if head.datatype not in DATATYPES:
        raise UnfitTensorError(f"datatype must be one of {', '.join(DATATYPES)}; found '{head.datatype[:20]}'")
    if not head.shape or len(head.shape) > 8 or min(head.shape) < 0 or max(head.shape) > 2**31:
        raise UnfitTensorError("shape must be one to eight sizes, none of them negative")


def _matrix(heads: list[TensorHead], signature: Signature) -> TensorHead | None:
    """Return the input that holds all features, if it is that form of the request and the model knows it."""
    if len(heads) != 1 or heads[0].name not in MATRIX_NAMES or heads[0].name in signature.names:
        return None
    if not takes_matrix(signature):
        return None
    (head,) = heads
    width = len(signature.features)
    if len(head.shape) != 2 or head.shape[1] != width:
        raise TensorsRejectedError([f"input '{head.name}': shape must be [n, {width}]; found {head.shape}"])
    if head.datatype not in _NUMBERS:
        raise TensorsRejectedError([f"input '{head.name}': datatype must be a number's; found {head.datatype}"])
    return head


def takes_matrix(signature: Signature) -> bool:
    """Whether the model takes its features as one tensor too."""
    return all(feature.kind == "numeric" for feature in signature.features)


def _columns_of(head: TensorHead, block: Column, signature: Signature) -> dict[str, Column]:
    table = np.asarray(block).reshape(head.shape)
    return {name: table[:, position] for position, name in enumerate(signature.names)}


def _path_in(name: str) -> Callable[[int, int], str]:
    return lambda row, position: f"inputs.{name}[{row}][{position}]"


def _rows_of(heads: list[TensorHead], signature: Signature) -> int:
    """Return how many rows the inputs hold, having found that they are the model's features."""
    faults = list(_faults_of(heads, signature))
    if not faults and len({head.shape[0] for head in heads}) != 1:
        sizes = ", ".join(f"'{head.name}' {head.shape[0]}" for head in heads)
        faults.append(f"all inputs must have as many rows; found {sizes}")
    if faults:
        raise TensorsRejectedError(faults)
    return heads[0].shape[0]


def _faults_of(heads: list[TensorHead], signature: Signature) -> Iterator[str]:
    given = {head.name: head for head in heads}
    for feature in signature.features:
        head = given.pop(feature.name, None)
        if head is None:
            yield f"input '{feature.name}' is missing"
        elif len(head.shape) != 1 and head.shape[1:] != [1]:
            yield f"input '{feature.name}': shape must be [n] or [n, 1]; found {head.shape}"
        elif head.datatype not in taken_by(feature):
            expected = " or ".join(taken_by(feature))
            yield f"input '{feature.name}': datatype must be {expected}; found {head.datatype}"
    for name in given:
        more = " (or all of them as one tensor, 'X')" if takes_matrix(signature) else ""
        yield f"input '{name[:60]}' is none of the features {', '.join(signature.names)}{more}"


def taken_by(feature: Numeric | Categorical | Boolean) -> tuple[str, ...]:
    """Return the datatypes of which a feature's tensor may be."""
    if feature.kind == "numeric":
        return _NUMBERS
    if feature.kind == "categorical":
        return (BYTES,)
    # Booleans have no missing: where it is allowed, 0, 1 and NaN do as well.
    return ("BOOL", *_FLOATS) if feature.missing else ("BOOL",)


def _check_rows(rows: int, most_rows: int) -> None:
    if rows > most_rows:
        raise TooLargeError("rows", most_rows, "SLUICE_SERVICE_MAX_ROWS")
