"""JSON schemas of the types that msgspec encodes and decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from inspect import getdoc
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    UUID: {"type": "string", "format": "uuid"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    Any: {},
    msgspec.Raw: {},
}


class SchemaRegistry:
    """The schemas of types, and the components that they refer to.

    Attributes
    ----------
    components : dict of str to schema
        One for each struct, by its name.
    """

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type; a schema is returned unchanged."""
        if isinstance(kind, Mapping):
            return dict(kind)
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"enum": [each.value for each in kind]}
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._reference(kind)
        return self._of_generic(kind)

    def _of_generic(self, kind: Any) -> dict[str, Any]:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, UnionType):
            kinds = [self.of(each) for each in arguments if each is not msgspec.UnsetType]
            return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        base = origin or kind
        if isinstance(base, type) and issubclass(base, Mapping):
            return (
                {"type": "object", "additionalProperties": self.of(arguments[1])} if arguments else {"type": "object"}
            )
        if isinstance(base, type) and issubclass(base, Sequence):
            return {"type": "array", "items": self.of(arguments[0])} if arguments else {"type": "array"}
        raise TypeError(f"there is no JSON schema for {kind!r}; pass a schema instead")

    def _reference(self, struct: type[msgspec.Struct]) -> dict[str, Any]:
        name = struct.__name__
        if name not in self.components:
            self.components[name] = {}  # it may refer to itself
            self.components[name] = self._of_struct(struct)
        return {"$ref": f"#/components/schemas/{name}"}

    def _of_struct(self, struct: type[msgspec.Struct]) -> dict[str, Any]:
        fields = msgspec.structs.fields(struct)
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.encode_name: self.of(field.type) for field in fields},
            # Members with a default are optional.
            "required": [field.encode_name for field in fields if field.required],
        }
        text = getdoc(struct)
        return schema | {"description": text} if text else schema
