"""Turns every error into an HTTP response, as RFC 9457 problem details. Nothing else does.

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from include.errors import RowsRejectedError, SluiceError, UnknownModelError, UnknownVersionError, UnscorableRowsError
from include.inference.field_errors import format_error, render_errors
from model_service.http.errors import HTTPError, ProblemKind, RequestTimeoutError, problem_kind
from model_service.http.json import encode
from model_service.http.request_context import RequestContext, new_request_id, request_id_from
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_NO_MATCH: Final = "value(s) do not match the model's signature"
SEE_ERRORS: Final = "; see errors."
OIP_ROOT: Final = "/v2"  # the Open Inference Protocol has an error format of its own: {"error": "..."}


def register_problems(app: Flask, *, values: bool) -> None:
    """Answer every error of `app` with a problem document; `values`: include rejected values in it."""

    def respond(error: Exception) -> Response:
        request_id = g.get("request_id") or request_id_from(request.headers.get("X-Request-ID"))
        return problem_response(error, request.path, request_id, values=values)

    app.register_error_handler(Exception, respond)


def problem_response(error: Exception, path: str, request_id: str, *, values: bool) -> Response:
    """Return the response to a request to `path` that failed with `error`."""
    where = (path, request_id)
    if isinstance(error, HTTPException):
        return _werkzeug_problem(error, where)
    kind = problem_kind(type(error)) if isinstance(error, SluiceError) else None
    if kind is None:
        return _unexpected_problem(error, where)
    return _sluice_problem(error, kind, where, values=values)


def timeout_response(seconds: float, contexts: Sequence[RequestContext], waiting: int) -> Response:
    """Return the response on a connection that waits for longer than `seconds`.

    Parameters
    ----------
    seconds : float
    contexts : sequence of RequestContext
        The requests in progress from the connection's address.
    waiting : int
        Number of connections from there that wait for a response. If both are one, they belong together. Otherwise it
        is not known which request came from which connection, and the response must not reveal a request's path or
        id, as the connection may belong to another client.
    """
    error = RequestTimeoutError(seconds)
    if len(contexts) == waiting == 1:
        (context,) = contexts
        response = problem_response(error, context.path, context.request_id, values=False)
        if context.traceparent is not None:
            response.headers["traceparent"] = context.traceparent
        return response
    request_id = new_request_id()
    oip = bool(contexts) and all(context.path.startswith(OIP_ROOT) for context in contexts)
    return problem_response(error, OIP_ROOT if oip else f"urn:sluice:request:{request_id}", request_id, values=False)


def _sluice_problem(error: Exception, kind: ProblemKind, where: tuple[str, str], *, values: bool) -> Response:
    detail = str(error)
    members: Mapping[str, Any] = {}
    if isinstance(error, HTTPError):
        members = error.members
    elif isinstance(error, RowsRejectedError):
        what = "row(s) have no answer from the model" if isinstance(error, UnscorableRowsError) else _NO_MATCH
        detail = f"{len(error.faults)} {what}{SEE_ERRORS}"
        members = {"errors": render_errors(error.faults, values=values)}
    elif isinstance(error, UnknownModelError):
        members = {"declared": error.declared}
    elif isinstance(error, UnknownVersionError):
        members = {"existing": error.existing}
    response = _problem(where, kind.status, f"urn:sluice:problem:{kind.type}", kind.title, detail, members)
    if isinstance(error, HTTPError):
        response.headers.update(error.headers)
    return response


def _werkzeug_problem(error: HTTPException, where: tuple[str, str]) -> Response:
    response = _problem(where, error.code or 500, "about:blank", error.name, error.description or error.name, {})
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _unexpected_problem(error: Exception, where: tuple[str, str]) -> Response:
    log_unexpected(log, f"request {where[1]} failed", error)
    detail = "This is an error of the service, not of the request. Search the service's log for this request id."
    return _problem(where, 500, "about:blank", "Internal Server Error", detail, {})


def _problem(
    where: tuple[str, str], status: int, type_uri: str, title: str, detail: str, members: Mapping[str, Any]
) -> Response:
    path, request_id = where
    if path.startswith(OIP_ROOT):
        sentences = "; ".join(format_error(each) for each in members.get("errors", ()))
        if sentences:  # this format has no member for them
            detail = f"{detail.removesuffix(SEE_ERRORS)}: {sentences}"
        return _response(encode({"error": detail}), status, "application/json", request_id)
    document = {
        "type": type_uri,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": request_id,
        **members,
    }
    return _response(encode(document), status, MEDIA_TYPE, request_id)


def _response(body: bytes, status: int, media_type: str, request_id: str) -> Response:
    response = Response(body, status=status, content_type=media_type)
    response.headers["X-Request-ID"] = request_id
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response
