"""What the JSON part of an inference request says: which tensors there are, where they lie, and what is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.inference import ModelSignature
from include.spec import Boolean, Categorical, Numeric
from model_service.http.errors import PayloadTooLargeError, TensorsRejectedError
from model_service.oip.head import RequestHead, TensorHead
from model_service.oip.metadata import outputs_of
from model_service.oip.tensors import BYTES, DATATYPES, NUMPY_TYPES

_MOST_BYTES: Final = 2**40  # of a tensor; more would be no number of bytes
MATRIX_NAMES: Final = ("X", "features")  # of the one tensor that all-numeric models take too
_NUMBERS: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind in "iuf")
_FLOATS: Final = tuple(name for name, dtype in NUMPY_TYPES.items() if dtype.kind == "f")


class TensorSlice(NamedTuple):
    """A tensor, and which of the bytes after the JSON part are its own; None: its data are in the JSON part."""

    head: TensorHead
    place: slice | None


class TensorRun(NamedTuple):
    """Tensors of numbers of one type, one after the other, all of as many rows: one array, of a row a tensor."""

    names: tuple[str, ...]
    positions: NDArray[np.intp]
    dtype: np.dtype[Any]
    place: slice


@dataclass(frozen=True, slots=True)
class RequestLayout:
    """All that the JSON part says, found to fit the model.

    Attributes
    ----------
    id : str or None
    tensors : tuple of TensorSlice
        One a feature; or one that holds all features, if `matrix`.
    runs : tuple of TensorRun
        Of the tensors that can be read together.
    alone : tuple of TensorSlice
        The other tensors.
    matrix : bool
    rows : int
    length : int
        How many bytes of tensors follow the JSON part.
    outputs : tuple of (name, whether in binary form)
        What is asked for: each is one that the model has, and none comes twice.
    """

    id: str | None
    tensors: tuple[TensorSlice, ...]
    runs: tuple[TensorRun, ...]
    alone: tuple[TensorSlice, ...]
    matrix: bool
    rows: int
    length: int
    outputs: tuple[tuple[str, bool], ...]

    @property
    def lasts(self) -> bool:
        """Whether another request with the same JSON part has the same layout, and is likely to come."""
        return self.id is None and all(each.place is not None for each in self.tensors)

    @property
    def path_of(self) -> Callable[[int, int], str] | None:
        """Names row i of feature j, where that is not ``inputs.<feature>[i]``."""
        return _path_in(self.tensors[0].head.name) if self.matrix else None


def build_layout(head: RequestHead, signature: ModelSignature, most_rows: int) -> RequestLayout:
    """Return what `head` says of a request to the model with that signature.

    Raises
    ------
    TensorsRejectedError
        If its tensors are not those that the model takes, or it asks for other outputs than the model has.
    PayloadTooLargeError
        If there are more than `most_rows` rows.
    """
    tensors, length = _placed(head.inputs)
    matrix = _matrix(head.inputs, signature)
    rows = _rows_of(head.inputs, signature) if matrix is None else matrix.shape[0]
    if rows > most_rows:
        raise PayloadTooLargeError("rows", most_rows, "SLUICE_SERVICE_MAX_ROWS")
    runs = () if matrix else tuple(_runs(tensors, rows, signature))
    together = {name for run in runs for name in run.names}
    alone = tuple(each for each in tensors if each.head.name not in together)
    return RequestLayout(head.id, tensors, runs, alone, matrix is not None, rows, length, _asked(head, signature))


def _runs(tensors: Sequence[TensorSlice], rows: int, signature: ModelSignature) -> Iterator[TensorRun]:
    """Yield what can be read together of features' tensors, each of `rows` elements."""
    position_of = {feature.name: at for at, feature in enumerate(signature.features) if feature.kind == "numeric"}

    def datatype(tensor: TensorSlice) -> str:
        head, place = tensor
        dtype = NUMPY_TYPES.get(head.datatype)
        fits = dtype is not None and place is not None and place.stop - place.start == rows * dtype.itemsize
        return head.datatype if fits and head.name in position_of else ""

    for name, run in groupby(tensors, datatype):
        if name:
            heads, places = zip(*run, strict=True)
            names = tuple(head.name for head in heads)
            positions = np.array([position_of[each] for each in names], dtype=np.intp)
            yield TensorRun(names, positions, NUMPY_TYPES[name], slice(places[0].start, places[-1].stop))


def _asked(head: RequestHead, signature: ModelSignature) -> tuple[tuple[str, bool], ...]:
    """Return the outputs asked for, all of the model unless told, and for each whether in binary form."""
    binary = _flag(head.parameters, "binary_data_output", default=False, where="parameters")
    asked = tuple(
        (each.name, _flag(each.parameters, "binary_data", default=binary, where=f"output '{each.name[:60]}'"))
        for each in head.outputs
    )
    known = tuple(each.name for each in outputs_of(signature))
    names = [name for name, _ in asked]
    faults = [f"output '{name[:60]}' is none of {', '.join(known)}" for name in names if name not in known]
    faults += [f"output '{name}' is asked for twice" for name in known if names.count(name) > 1]
    if faults:
        raise TensorsRejectedError(faults)
    return asked or tuple((name, binary) for name in known)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool, where: str) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise TensorsRejectedError([f"{where}: {name} must be true or false"])
    return value


def _placed(heads: list[TensorHead]) -> tuple[tuple[TensorSlice, ...], int]:
    """Return the tensors, and how many bytes of them follow; binary ones lie one after the other."""
    tensors: list[TensorSlice] = []
    faults: list[str] = []
    at = 0
    for head in heads:
        size = head.parameters.get("binary_data_size")
        faults += [f"input '{head.name[:60]}': {fault}" for fault in _faults_of_head(head, size)]
        if size is None or faults:
            tensors.append(TensorSlice(head, None))
        else:
            tensors.append(TensorSlice(head, slice(at, at + size)))
            at += size
    if not faults and len({head.name for head in heads}) != len(heads):
        faults.append("an input is given twice")
    if faults:
        raise TensorsRejectedError(faults)
    return tuple(tensors), at


def _faults_of_head(head: TensorHead, size: Any) -> Iterator[str]:
    if head.datatype not in DATATYPES:
        yield f"datatype must be one of {', '.join(DATATYPES)}; found '{head.datatype[:20]}'"
    if not head.shape or len(head.shape) > 8 or min(head.shape) < 0 or max(head.shape) > 2**31:
        yield "shape must be one to eight sizes, none of them negative"
    if size is not None and (type(size) is not int or not 0 <= size <= _MOST_BYTES):
        yield f"binary_data_size must be a number of bytes that follow; found {str(size)[:20]}"
    if size is not None and head.data:
        yield "it has both data and parameters.binary_data_size"
    if size is None and not head.data:
        yield "expected data, or parameters.binary_data_size"


def _matrix(heads: list[TensorHead], signature: ModelSignature) -> TensorHead | None:
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


def takes_matrix(signature: ModelSignature) -> bool:
    """Whether the model takes its features as one tensor too."""
    return all(feature.kind == "numeric" for feature in signature.features)


def _path_in(name: str) -> Callable[[int, int], str]:
    return lambda row, position: f"inputs.{name}[{row}][{position}]"


def _rows_of(heads: list[TensorHead], signature: ModelSignature) -> int:
    """Return how many rows the inputs hold, having found that they are the model's features."""
    faults = list(_faults_of(heads, signature))
    if not faults and len({head.shape[0] for head in heads}) != 1:
        sizes = ", ".join(f"'{head.name}' {head.shape[0]}" for head in heads)
        faults.append(f"all inputs must have as many rows; found {sizes}")
    if faults:
        raise TensorsRejectedError(faults)
    return heads[0].shape[0]


def _faults_of(heads: list[TensorHead], signature: ModelSignature) -> Iterator[str]:
    given = {head.name: head for head in heads}
    for feature in signature.features:
        head = given.pop(feature.name, None)
        if head is None:
            yield f"input '{feature.name}' is missing"
        elif len(head.shape) != 1 and head.shape[1:] != [1]:
            yield f"input '{feature.name}': shape must be [n] or [n, 1]; found {head.shape}"
        elif head.datatype not in accepted_datatypes(feature):
            expected = " or ".join(accepted_datatypes(feature))
            yield f"input '{feature.name}': datatype must be {expected}; found {head.datatype}"
    for name in given:
        more = " (or all of them as one tensor, 'X')" if takes_matrix(signature) else ""
        yield f"input '{name[:60]}' is none of the features {', '.join(signature.names)}{more}"


def accepted_datatypes(feature: Numeric | Categorical | Boolean) -> tuple[str, ...]:
    """Return the datatypes of which a feature's tensor may be."""
    if feature.kind == "numeric":
        return _NUMBERS
    if feature.kind == "categorical":
        return (BYTES,)
    # Booleans have no missing: where it is allowed, 0, 1 and NaN do as well.
    return ("BOOL", *_FLOATS) if feature.nullable else ("BOOL",)
