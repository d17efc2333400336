"""The OpenAPI description of an inference: in general, and for one model by its signature."""

from __future__ import annotations

from typing import Any

from include.inference import ModelSignature
from include.inference.feature_types import feature_type
from include.spec import Feature
from model_service.oip.head import RequestHead
from model_service.oip.response import InferResponse
from model_service.openapi import Operation, Parameter, RequestBody, ResponseSpec
from model_service.openapi.operation import Problem

_HEADERS = (
    Parameter(
        "Inference-Header-Content-Length",
        {"type": "integer", "minimum": 0},
        "Number of bytes of JSON at the beginning of the body; binary tensors follow. Default: the whole body is JSON.",
    ),
)
_RESPONSES = {
    200: ResponseSpec(
        "The output tensors; binary ones follow the JSON part.",
        InferResponse,
        other_media=("application/octet-stream",),
    )
}


def infer_operation(summary: str, problems: tuple[Problem, ...], *, of_version: bool = False) -> Operation:
    """Describe an inference with any model."""

    def of_model(signature: ModelSignature) -> Operation:
        return Operation(
            f"{summary}: '{signature.model}'",
            "oip",
            _RESPONSES,
            problems=problems,
            body=RequestBody(request_schema(signature)),
            error_format="oip",
        )

    return Operation(
        summary,
        "oip",
        _RESPONSES,
        problems=problems,
        body=RequestBody(RequestHead),
        headers=_HEADERS,
        error_format="oip",
        per_model=None if of_version else of_model,
    )


def request_schema(signature: ModelSignature) -> dict[str, Any]:
    """Return the JSON schema of an inference request with one row, for a model with this signature."""
    tensors = [_tensor_schema(feature) for feature in signature.features]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"type": ["object", "null"], "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {
                "type": "array",
                "prefixItems": tensors,
                "items": False,
                "minItems": len(tensors),
                "maxItems": len(tensors),
            },
        },
    }


def _tensor_schema(feature: Feature) -> dict[str, Any]:
    of_type = feature_type(feature)
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": feature.name},
            "datatype": {"const": of_type.json_tensor_type},
            "shape": {"const": [1]},
            "data": {"type": "array", "items": of_type.json_schema(), "minItems": 1, "maxItems": 1},
            # A binary tensor has its size here, and no data; no schema can describe the bytes after the JSON.
            "parameters": {"type": ["object", "null"], "properties": {"binary_data_size": {"type": "null"}}},
        },
    }
