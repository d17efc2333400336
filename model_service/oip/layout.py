"""The layout of an inference request: its tensors, where their bytes are, and the requested outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.inference import MAX_FIELD_ERRORS, ModelSignature
from include.inference.feature_types import FeatureType
from include.inference.tensor_types import NUMBER_TYPES, NUMPY_TYPES
from model_service.http.errors import PayloadTooLargeError, TensorsRejectedError
from model_service.oip.head import RequestHead, TensorHead
from model_service.oip.metadata import outputs_of
from model_service.oip.tensors import DATATYPES

_MAX_TENSOR_BYTES: Final = 2**40
Types = Sequence[FeatureType[Any]]
# The single tensor that models with only numeric features also accept: as in our examples, KServe's and MLServer's.
MATRIX_NAMES: Final = ("X", "features", "input-0", "predict")


class TensorSlice(NamedTuple):
    """A tensor and its slice of the bytes after the JSON part; None: its data are in the JSON part."""

    head: TensorHead
    place: slice | None


class TensorRun(NamedTuple):
    """Consecutive numeric tensors of one type and with equal row counts: a single array with a row per tensor."""

    names: tuple[str, ...]
    positions: NDArray[np.intp]
    dtype: np.dtype[Any]
    place: slice


@dataclass(frozen=True, slots=True)
class RequestLayout:
    """The content of the JSON part, after validation against the model.

    Attributes
    ----------
    id : str or None
    tensors : tuple of TensorSlice
        One per feature; or a single one with all features, if `matrix`.
    runs : tuple of TensorRun
        The tensors that can be read together.
    alone : tuple of TensorSlice
        The other tensors.
    matrix : bool
    rows : int
    length : int
        Number of bytes after the JSON part.
    outputs : tuple of (name, whether in binary format)
        The requested outputs; all of them exist, and none is repeated.
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
    def is_reusable(self) -> bool:
        """Whether other requests with the same JSON part have the same layout and are likely."""
        return self.id is None and all(each.place is not None for each in self.tensors)

    @property
    def path_of(self) -> Callable[[int, int], str] | None:
        """Returns the path of row i of feature j, if it is not ``inputs.<feature>[i]``."""
        return _path_in(self.tensors[0].head.name) if self.matrix else None


def build_layout(head: RequestHead, signature: ModelSignature, types: Types, max_rows: int) -> RequestLayout:
    """Validate the JSON part against the signature, whose features are of these `types`, and return the layout.

    Raises
    ------
    TensorsRejectedError
        If the inputs or the requested outputs do not match the model.
    PayloadTooLargeError
        If there are more than `max_rows` rows.
    """
    _check_counts(head, signature)
    tensors, length = _placed(head.inputs)
    matrix = _matrix(head.inputs, signature, types)
    rows = _rows_of(head.inputs, signature, types) if matrix is None else matrix.shape[0]
    if rows > max_rows:
        raise PayloadTooLargeError("rows", max_rows, "SLUICE_SERVICE_MAX_ROWS")
    runs = () if matrix else tuple(_runs(tensors, rows, types))
    together = {name for run in runs for name in run.names}
    alone = tuple(each for each in tensors if each.head.name not in together)
    return RequestLayout(head.id, tensors, runs, alone, matrix is not None, rows, length, _requested(head, signature))


def _check_counts(head: RequestHead, signature: ModelSignature) -> None:
    """Refuse far more inputs or outputs than the model has: each of them would be looked at, and none be reported."""
    counts = (
        ("input", head.inputs, len(signature.features)),
        ("output", head.outputs or (), len(outputs_of(signature))),
    )
    faults = [
        f"expected at most {known} {what}(s); found {len(given)}"
        for what, given, known in counts
        if len(given) > known + MAX_FIELD_ERRORS
    ]
    if faults:
        raise TensorsRejectedError(faults)


def _runs(tensors: Sequence[TensorSlice], rows: int, types: Types) -> Iterator[TensorRun]:
    """Yield the runs of feature tensors with `rows` elements that can be read together."""
    position_of = {each.feature.name: at for at, each in enumerate(types) if each.block_bounds is not None}

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


def _requested(head: RequestHead, signature: ModelSignature) -> tuple[tuple[str, bool], ...]:
    """Return the requested outputs (default: all), each with whether it is in binary format."""
    binary = _flag(head.parameters, "binary_data_output", default=False, where="parameters")
    requested = tuple(
        (each.name, _flag(each.parameters, "binary_data", default=binary, where=f"output '{each.name[:60]}'"))
        for each in head.outputs or ()
    )
    known = tuple(each.name for each in outputs_of(signature))
    names = [name for name, _ in requested]
    faults = list(_classification_faults(head))
    faults += [f"output '{name[:60]}' is none of {', '.join(known)}" for name in names if name not in known]
    faults += [f"output '{name}' is requested more than once" for name in known if names.count(name) > 1]
    if faults:
        raise TensorsRejectedError(faults)
    return requested or tuple((name, binary) for name in known)


def _classification_faults(head: RequestHead) -> Iterator[str]:
    """Refuse Triton's extension that answers the best classes as strings: to ignore it would answer something else."""
    for each in head.outputs or ():
        if each.parameters and each.parameters.get("classification"):
            yield (
                f"output '{each.name[:60]}': the classification extension (class_count) is not supported; request the "
                "outputs label, class_index and probabilities instead"
            )


def _flag(parameters: Mapping[str, Any] | None, name: str, *, default: bool, where: str) -> bool:
    value = parameters.get(name, default) if parameters else default
    if type(value) is not bool:
        raise TensorsRejectedError([f"{where}: {name} must be true or false"])
    return value


def _placed(heads: list[TensorHead]) -> tuple[tuple[TensorSlice, ...], int]:
    """Return the tensors and the number of bytes that follow, in which binary tensors are consecutive."""
    tensors: list[TensorSlice] = []
    faults: list[str] = []
    at = 0
    for head in heads:
        size = head.parameters.get("binary_data_size") if head.parameters else None
        faults += [f"input '{head.name[:60]}': {fault}" for fault in _faults_of_head(head, size)]
        if size is None or faults:
            tensors.append(TensorSlice(head, None))
        else:
            tensors.append(TensorSlice(head, slice(at, at + size)))
            at += size
    if not faults and len({head.name for head in heads}) != len(heads):
        faults.append("an input is given more than once")
    if faults:
        raise TensorsRejectedError(faults)
    return tuple(tensors), at


def _faults_of_head(head: TensorHead, size: Any) -> Iterator[str]:
    if head.datatype not in DATATYPES:
        yield f"datatype must be one of {', '.join(DATATYPES)}; found '{head.datatype[:20]}'"
    if not head.shape or len(head.shape) > 8 or min(head.shape) < 0 or max(head.shape) > 2**31:
        yield "shape must have one to eight sizes, none of them negative"
    if size is not None and (type(size) is not int or not 0 <= size <= _MAX_TENSOR_BYTES):
        yield f"binary_data_size must be a number of bytes that follow; found {str(size)[:20]}"
    if size is not None and bytes(head.data) not in (b"", b"null"):
        yield "found both data and parameters.binary_data_size; expected one of them"
    if size is None and not head.data:
        yield "expected data, or parameters.binary_data_size"


def _matrix(heads: list[TensorHead], signature: ModelSignature, types: Types) -> TensorHead | None:
    """Return the input that contains all features, if the request has one and the model accepts it."""
    if len(heads) != 1 or heads[0].name not in MATRIX_NAMES or heads[0].name in signature.names:
        return None
    if not accepts_matrix(types):
        return None
    (head,) = heads
    width = len(signature.features)
    if len(head.shape) != 2 or head.shape[1] != width:
        raise TensorsRejectedError([f"input '{head.name}': shape must be [n, {width}]; found {head.shape}"])
    if head.datatype not in NUMBER_TYPES:
        raise TensorsRejectedError([f"input '{head.name}': datatype must be numeric; found {head.datatype}"])
    return head


def accepts_matrix(types: Types) -> bool:
    """Return whether the model also accepts its features as a single tensor."""
    return all(each.block_bounds is not None for each in types)


def _path_in(name: str) -> Callable[[int, int], str]:
    return lambda row, position: f"inputs.{name}[{row}][{position}]"


def _rows_of(heads: list[TensorHead], signature: ModelSignature, types: Types) -> int:
    """Return the number of rows, after checking that the inputs are the model's features."""
    faults = list(_faults_of(heads, signature, types))
    if not faults and len({head.shape[0] for head in heads}) != 1:
        sizes = ", ".join(f"'{head.name}' {head.shape[0]}" for head in heads)
        faults.append(f"all inputs must have the same number of rows; found {sizes}")
    if faults:
        raise TensorsRejectedError(faults)
    return heads[0].shape[0]


def _faults_of(heads: list[TensorHead], signature: ModelSignature, types: Types) -> Iterator[str]:
    given = {head.name: head for head in heads}
    for feature, of_type in zip(signature.features, types, strict=True):
        head = given.pop(feature.name, None)
        if head is None:
            yield f"input '{feature.name}' is missing"
        elif len(head.shape) != 1 and head.shape[1:] != [1]:
            yield f"input '{feature.name}': shape must be [n] or [n, 1]; found {head.shape}"
        elif head.datatype not in of_type.tensor_types:
            expected = " or ".join(of_type.tensor_types)
            yield f"input '{feature.name}': datatype must be {expected}; found {head.datatype}"
    for name in given:
        more = " (or all of them as one tensor, 'X')" if accepts_matrix(types) else ""
        yield f"input '{name[:60]}' is none of the features {', '.join(signature.names)}{more}"
