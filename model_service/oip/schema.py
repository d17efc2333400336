"""The description of an inference: in general, and for one model by its signature."""

from __future__ import annotations

from typing import Any

from include.inference import ModelSignature
from include.spec import Boolean, Categorical, Numeric
from model_service.oip.head import RequestHead
from model_service.oip.layout import accepted_datatypes
from model_service.oip.metadata import datatype_of
from model_service.oip.response import InferResponse
from model_service.openapi import Operation, Parameter, RequestBody, ResponseSpec
from model_service.openapi.operation import Problem
from model_service.openapi.signatures import value_schema

_HEADERS = (
    Parameter(
        "Inference-Header-Content-Length",
        {"type": "integer", "minimum": 0},
        "How many bytes of JSON the body begins with; binary tensors follow. Without it the body is JSON.",
    ),
)
_MEDIA = {
    200: ResponseSpec(
        "The outputs; in binary form after the JSON part where that was asked for.",
        InferResponse,
        other_media=("application/octet-stream",),
    )
}


def infer_operation(summary: str, problems: tuple[Problem, ...], *, of_version: bool = False) -> Operation:
    """Return what an inference takes and answers, whatever the model."""

    def of_model(signature: ModelSignature) -> Operation:
        return Operation(
            f"{summary}: '{signature.model}'",
            "oip",
            _MEDIA,
            problems=problems,
            body=RequestBody(request_schema(signature)),
            error_format="oip",
        )

    return Operation(
        summary,
        "oip",
        _MEDIA,
        problems=problems,
        body=RequestBody(RequestHead),
        headers=_HEADERS,
        error_format="oip",
        per_model=None if of_version else of_model,
    )


def request_schema(signature: ModelSignature) -> dict[str, Any]:
    """Return the JSON schema of an inference request to a model of this signature, with one row."""
    tensors = [_tensor_schema(feature) for feature in signature.features]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {
                "type": "array",
                "prefixItems": tensors,
                "items": False,
                "minItems": len(tensors),
                "maxItems": len(tensors),
            },
        },
    }


def _tensor_schema(feature: Numeric | Categorical | Boolean) -> dict[str, Any]:
    datatype = datatype_of(feature) if feature.kind != "numeric" else "FP64"
    assert datatype in accepted_datatypes(feature)  # noqa: S101  # what is described is taken
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": feature.name},
            "datatype": {"const": datatype},
            "shape": {"const": [1]},
            "data": {"type": "array", "items": value_schema(feature), "minItems": 1, "maxItems": 1},
            # A tensor in binary form has its size here, and no data; no schema tells of what follows JSON.
            "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "null"}}},
        },
    }
