"""JSON schemas of a model's requests and responses, from its signature."""

from __future__ import annotations

from typing import Any

from include.inference import ModelSignature
from include.inference.feature_types import feature_type


def row_schema(signature: ModelSignature) -> dict[str, Any]:
    """Return the schema of a row: an object by name, or a list in the declared order."""
    values = {feature.name: feature_type(feature).json_schema() for feature in signature.features}
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": values,
                "required": list(values),
                "additionalProperties": False,
            },
            {
                "type": "array",
                "prefixItems": list(values.values()),
                "items": False,
                "minItems": len(values),
                "maxItems": len(values),
            },
        ]
    }


def request_schema(signature: ModelSignature, max_rows: int) -> dict[str, Any]:
    """Return the schema of the body of a prediction request."""
    row = row_schema(signature)
    rows = {"type": "array", "items": row, "minItems": 1, "description": f"At most {max_rows} rows."}
    return {
        "type": "object",
        "properties": {"features": {"anyOf": [row, rows]}},
        "required": ["features"],
        "additionalProperties": False,
    }


def example_row(signature: ModelSignature) -> list[Any]:
    """Return a valid row, in the declared order."""
    return [feature_type(feature).example() for feature in signature.features]


def prediction_schema(signature: ModelSignature) -> dict[str, Any]:
    """Return the schema of the prediction for one row."""
    if not signature.classes:
        return _object({"value": {"type": "number"}})
    probability = {"type": "number"}
    return _object(
        {
            "label": {"enum": list(signature.classes)},
            "class_index": {"type": "integer", "minimum": 0, "maximum": len(signature.classes) - 1},
            "probabilities": _object(dict.fromkeys(signature.classes, probability)),
        }
    )


def response_schema(prediction: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the response to a request with one row or many."""
    common = {
        "model": model,
        "version": {"type": "integer", "minimum": 1},
        "artifact_digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "request_id": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
    }
    many = {"type": "array", "items": prediction}
    return {"anyOf": [_object({**common, "prediction": prediction}), _object({**common, "predictions": many})]}


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
