"""The metadata of the server and of models, as the protocol defines them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import msgspec

from include.inference import ModelSignature
from include.inference.feature_types import feature_type
from model_service.models.registry import LoadedModel

PLATFORM = "onnxruntime_onnx"


class ServerMetadata(msgspec.Struct):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(msgspec.Struct):
    """An input or output tensor; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct):
    """A model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerLive(msgspec.Struct):
    """Whether the server responds."""

    live: bool


class ServerReady(msgspec.Struct):
    """Whether the server can answer for every model that has a champion."""

    ready: bool


class ModelReady(msgspec.Struct):
    """Whether a model is loaded."""

    name: str
    ready: bool


def server() -> ServerMetadata:
    """Return the metadata of the server."""
    try:
        number = version("sluice")
    except PackageNotFoundError:  # it runs from a source folder and is not installed
        number = "unknown"
    return ServerMetadata("sluice", number, ["binary_tensor_data"])


def model(loaded: LoadedModel, versions: list[int]) -> ModelMetadata:
    """Return the metadata of a model."""
    signature = loaded.scorer.signature
    return ModelMetadata(
        loaded.model,
        [str(each) for each in versions],
        PLATFORM,
        [TensorMetadata(feature.name, feature_type(feature).tensor_type, [-1]) for feature in signature.features],
        outputs_of(signature),
    )


def outputs_of(signature: ModelSignature) -> list[TensorMetadata]:
    """Return the outputs of a model with this signature."""
    if not signature.classes:
        return [TensorMetadata("value", "FP64", [-1])]
    return [
        TensorMetadata("label", "BYTES", [-1]),
        TensorMetadata("class_index", "INT64", [-1]),
        TensorMetadata("probabilities", "FP64", [-1, len(signature.classes)]),
    ]
