"""Generates ``/openapi.json``: every route of the application, and for each loaded model its own routes.

Source: https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from flask import Flask
from werkzeug.routing import Rule

from include.inference import ModelSignature
from model_service.http.errors import problem_kind
from model_service.http.problems import MEDIA_TYPE
from model_service.openapi.headers import headers_of
from model_service.openapi.operation import (
    BODY_PROBLEMS,
    COMMON_PROBLEMS,
    PATH_PROBLEMS,
    PROTECTED_PROBLEMS,
    Operation,
    Parameter,
    Problem,
    ResponseSpec,
    operation_of,
)
from model_service.openapi.types import SchemaRegistry

OPENAPI: Final = "3.1.0"
PROBLEM: Final = {
    "type": "object",
    "description": "An error (RFC 9457). Some types have additional members, such as errors.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("path", "expected", "found")},
                "required": ["path", "expected", "found"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
}
OIP_ERROR: Final = {
    "type": "object",
    "description": "An error in the format of the Open Inference Protocol.",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}


def openapi_document(
    app: Flask,
    default_model: str,
    signatures: dict[str, ModelSignature],
    *,
    authenticates: bool,
    open_scopes: Collection[str],
) -> dict[str, Any]:
    """Describe every route of `app`, and for each loaded model the routes that depend on its signature.

    Parameters
    ----------
    app : Flask
    default_model : str
        The model of ``POST /predict``.
    signatures : dict of str to ModelSignature
        The signatures of the loaded models that the caller may see.
    authenticates : bool
        Whether requests need a token.
    open_scopes : collection of str
        The scopes that need no token and have no limits.
    """
    schemas = SchemaRegistry()
    schemas.components |= {"Problem": dict(PROBLEM), "OipError": dict(OIP_ERROR)}
    writer = _Writer(schemas, signatures, authenticates=authenticates, open_scopes=open_scopes)
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, view in _routes(app):
        general = operation_of(view)
        if general is None:
            continue
        scope = getattr(view, "scope", "open")
        for path, operation, model in _expanded(rule, general, signatures, default_model):
            identity = f"{rule.endpoint}.{method.lower()}" + (f".{model}" if model else "")
            paths.setdefault(path, {})[method.lower()] = writer.operation(path, operation, identity, scope)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Sluice",
            "version": "1",
            "description": "Predictions of the champion models, published scores, and the models' metadata.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def path_of(rule: Rule) -> str:
    """Return the path of a rule in OpenAPI's syntax: ``/v1/models/{name}``."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def _routes(app: Flask) -> Iterator[tuple[Rule, str, Any]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, app.view_functions[rule.endpoint]


def _expanded(
    rule: Rule, general: Operation, signatures: dict[str, ModelSignature], default_model: str
) -> Iterator[tuple[str, Operation, str]]:
    path = path_of(rule)
    if general.per_model is None:
        yield path, general, ""
    elif "{name}" in path:
        yield path, general, ""
        for name, signature in signatures.items():
            yield path.replace("{name}", name), general.per_model(signature), name
    elif default_model in signatures:
        yield path, general.per_model(signatures[default_model]), ""
    else:
        yield path, general, ""


class _Writer:
    def __init__(
        self, schemas: SchemaRegistry, models: Iterable[str], *, authenticates: bool, open_scopes: Collection[str]
    ) -> None:
        self._schemas = schemas
        self._models = list(models)
        self._authenticates = authenticates
        self._open_scopes = open_scopes

    def operation(self, path: str, operation: Operation, identity: str, scope: str) -> dict[str, Any]:
        written: dict[str, Any] = {
            "operationId": re.sub(r"[^A-Za-z0-9]+", "_", identity),
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": list(self._parameters(path, operation)),
            "responses": self._responses(path, operation, protected=scope not in self._open_scopes),
        }
        if operation.description:
            written["description"] = operation.description
        if operation.body is not None:
            body: dict[str, Any] = {"schema": self._schemas.of(operation.body.schema)}
            if operation.body.example is not None:
                body["example"] = operation.body.example
            written["requestBody"] = {"required": True, "content": {operation.body.media_type: body}}
        if self._authenticates and scope not in self._open_scopes:
            written["security"] = [{"token": [scope]}]
        return written

    def _parameters(self, path: str, operation: Operation) -> Iterator[dict[str, Any]]:
        for name in re.findall(r"{(\w+)}", path):
            found = operation.path.get(name) or self._variable(name)
            yield _parameter(found, "path", required=True)
        for each in operation.query:
            yield _parameter(each, "query", required=each.required)
        for each in operation.headers:
            yield _parameter(each, "header", required=each.required)

    def _variable(self, name: str) -> Parameter:
        if name == "name":
            known = {"enum": self._models} if self._models else {}
            return Parameter(
                name, {"type": "string", **known}, "The model's name. The enumeration lists the models that are loaded."
            )
        if name == "version":
            return Parameter(name, {"type": "integer", "minimum": 1}, "The version number.")
        return Parameter(name, {"type": "string", "minLength": 1}, "")

    def _responses(self, path: str, operation: Operation, *, protected: bool) -> dict[str, Any]:
        responses: dict[str, Any] = {}
        for status, response in sorted(operation.responses.items()):
            responses[str(status)] = self._response(status, response)
        problems = [*operation.problems, *COMMON_PROBLEMS]
        problems += PROTECTED_PROBLEMS if protected else ()
        problems += PATH_PROBLEMS if "{" in path else ()
        problems += BODY_PROBLEMS if operation.body is not None else ()
        for status, titles in sorted(_by_status(problems).items()):
            self._add_problem(responses, status, titles, operation)
        return responses

    def _response(self, status: int, spec: Any) -> dict[str, Any]:
        if not isinstance(spec, ResponseSpec):
            spec = ResponseSpec(HTTPStatus(status).phrase, spec)
        response: dict[str, Any] = {"description": spec.description, "headers": headers_of(status, spec.headers)}
        if spec.links:
            response["links"] = {
                name: {"operationId": operation, "parameters": dict(parameters)}
                for name, (operation, parameters) in spec.links.items()
            }
        if spec.schema is not None:
            response["content"] = {spec.media_type: {"schema": self._schemas.of(spec.schema)}}
            response["content"] |= {each: {} for each in spec.other_media}
        return response

    def _add_problem(self, responses: dict[str, Any], status: int, titles: list[str], operation: Operation) -> None:
        name, media_type = (
            ("OipError", "application/json") if operation.error_format == "oip" else ("Problem", MEDIA_TYPE)
        )
        reference = {"$ref": f"#/components/schemas/{name}"}
        text = "; ".join(titles) + "."
        known = responses.get(str(status))
        if known is None:
            responses[str(status)] = {
                "description": text,
                "headers": headers_of(status),
                "content": {media_type: {"schema": reference}},
            }
            return
        known["description"] += f" Or: {text}"
        content = known.setdefault("content", {})
        content[media_type] = (
            {"schema": {"anyOf": [content[media_type]["schema"], reference]}}
            if media_type in content
            else {"schema": reference}
        )


def _parameter(parameter: Parameter, place: str, *, required: bool) -> dict[str, Any]:
    written = {"name": parameter.name, "in": place, "required": required, "schema": dict(parameter.schema)}
    return written | {"description": parameter.description} if parameter.description else written


def _by_status(problems: Iterable[Problem]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for problem in problems:
        status, title = _status_and_title(problem)
        titles = found.setdefault(status, [])
        if title not in titles:
            titles.append(title)
    return found


def _status_and_title(problem: Problem) -> tuple[int, str]:
    if isinstance(problem, int):
        return problem, HTTPStatus(problem).phrase
    kind = problem_kind(problem)
    if kind is None:
        raise TypeError(f"{problem.__name__} has no HTTP status; derive it from HTTPError")
    return kind.status, kind.title
