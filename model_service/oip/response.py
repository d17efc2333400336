"""Scores become the outputs that were asked for, and outputs bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from include.inference import ModelSignature
from model_service.oip.tensors import StringTensorWriter

_encode = msgspec.json.Encoder().encode


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """One output: with its data, or with the number of bytes that follow."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(msgspec.Struct):
    """The JSON part of an answer."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """An answer's bytes, of which the first `head_bytes` are JSON; None: all are."""

    body: bytes
    head_bytes: int | None


class OutputWriter:
    """Writes a model's outputs: for a classification label, class_index and probabilities; else value.

    Parameters
    ----------
    signature : ModelSignature
    """

    def __init__(self, signature: ModelSignature) -> None:
        self._classes = signature.classes
        self._words = _words_writer(signature.classes)

    def write(
        self, about: tuple[str, str, str | None], scores: NDArray[np.float64], asked: tuple[tuple[str, bool], ...]
    ) -> EncodedResponse:
        """Write the outputs `asked` for.

        Parameters
        ----------
        about : (model, version, id)
        scores : ndarray of float64, shape (n, n_classes) or (n, 1)
        asked : tuple of (name, whether in binary form)
            As `RequestLayout.outputs` has them.
        """
        best = scores.argmax(axis=1) if self._classes else None
        shown: list[OutputTensor] = []
        buffers: list[bytes] = []
        for name, as_binary in asked:
            tensor, buffer = self._output(name, scores, best, as_binary=as_binary)
            shown.append(tensor)
            if as_binary:
                tensor.parameters = {"binary_data_size": len(buffer)}
                buffers.append(buffer)
        model, version, request_id = about
        head = _encode(InferResponse(model, version, shown, UNSET if request_id is None else request_id))
        return EncodedResponse(b"".join((head, *buffers)), len(head)) if buffers else EncodedResponse(head, None)

    def _output(
        self, name: str, scores: NDArray[np.float64], best: NDArray[np.int64] | None, *, as_binary: bool
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
            return tensor, self._words.write(best)
        tensor.data = [self._classes[position] for position in best.tolist()]
        return tensor, b""


@lru_cache(maxsize=256)
def _words_writer(classes: tuple[str, ...]) -> StringTensorWriter:
    return StringTensorWriter(classes)


def _numbers(tensor: OutputTensor, values: NDArray[Any], *, as_binary: bool) -> tuple[OutputTensor, bytes]:
    if as_binary:
        return tensor, values.tobytes()
    tensor.data = values.ravel().tolist()
    return tensor, b""
