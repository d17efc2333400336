"""Turns scores into the requested output tensors and their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from include.inference import ModelSignature
from model_service.http.json import encode
from model_service.oip.tensors import StringTensorWriter


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """An output tensor: with its data, or with the number of bytes that follow."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(msgspec.Struct):
    """The JSON part of a response."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """The bytes of a response; the first `head_bytes` are JSON; None: all of them."""

    body: bytes
    head_bytes: int | None


class OutputWriter:
    """Writes the outputs of a model: label, class_index and probabilities of a classification; value of a regression.

    Parameters
    ----------
    signature : ModelSignature
    """

    def __init__(self, signature: ModelSignature) -> None:
        self._classes = signature.classes
        self._labels_of = signature.labels
        self._labels = _label_writer(signature.classes)

    def write(
        self, head: tuple[str, str, str | None], scores: NDArray[np.float64], requested: tuple[tuple[str, bool], ...]
    ) -> EncodedResponse:
        """Write the `requested` outputs.

        Parameters
        ----------
        head : (model, version, id)
        scores : ndarray of float64, shape (n, n_classes) or (n, 1)
        requested : tuple of (name, whether in binary format)
            As in `RequestLayout.outputs`.
        """
        best = self._labels_of(scores) if self._classes else None
        tensors: list[OutputTensor] = []
        buffers: list[bytes] = []
        for name, as_binary in requested:
            tensor, buffer = self._output(name, scores, best, as_binary=as_binary)
            tensors.append(tensor)
            if as_binary:
                tensor.parameters = {"binary_data_size": len(buffer)}
                buffers.append(buffer)
        model, version, request_id = head
        json_part = encode(InferResponse(model, version, tensors, UNSET if request_id is None else request_id))
        return (
            EncodedResponse(b"".join((json_part, *buffers)), len(json_part))
            if buffers
            else EncodedResponse(json_part, None)
        )

    def _output(
        self, name: str, scores: NDArray[np.float64], best: NDArray[np.intp] | None, *, as_binary: bool
    ) -> tuple[OutputTensor, bytes]:
        rows = len(scores)
        if name == "value" or best is None:
            return _numbers(OutputTensor(name, "FP64", [rows]), scores, as_binary=as_binary)
        if name == "probabilities":
            return _numbers(OutputTensor(name, "FP64", [rows, len(self._classes)]), scores, as_binary=as_binary)
        if name == "class_index":
            return _numbers(OutputTensor(name, "INT64", [rows]), best.astype("<i8", copy=False), as_binary=as_binary)
        tensor = OutputTensor(name, "BYTES", [rows])
        if as_binary:
            return tensor, self._labels.write(best)
        tensor.data = [self._classes[position] for position in best.tolist()]
        return tensor, b""


@lru_cache(maxsize=256)
def _label_writer(classes: tuple[str, ...]) -> StringTensorWriter:
    return StringTensorWriter(classes)


def _numbers(tensor: OutputTensor, values: NDArray[Any], *, as_binary: bool) -> tuple[OutputTensor, bytes]:
    if as_binary:
        return tensor, values.tobytes()
    tensor.data = values.ravel().tolist()
    return tensor, b""
