"""Every error becomes an HTTP answer here, and only here: RFC 9457 problem details.

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import logging
from typing import Any, Final

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from include.errors import NoChampionError, RowsRejectedError, SluiceError, UnknownModelError, UnknownVersionError
from include.inference.field_errors import format_error, render_errors
from model_service.http.errors import (
    ArtifactVerificationError,
    ContentEncodingError,
    InvalidParameterError,
    JobFinishedError,
    JobNotFoundError,
    JobsUnavailableError,
    LedgerUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    ScoreNotFoundError,
    ScoresUnavailableError,
    TensorsRejectedError,
    TooManyJobsError,
)
from model_service.http.refusals import (
    AuthenticationRequiredError,
    HTTPError,
    InvalidTokenError,
    JWKSUnavailableError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
)
from model_service.http.responses import encode, request_id_of
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
OIP_ROOT: Final = "/v2"  # the Open Inference Protocol has a form of its own: {"error": "..."}

# (status, name, title); the name makes the problem's type.
_KINDS: Final[dict[type[SluiceError], tuple[int, str, str]]] = {
    MalformedBodyError: (400, "malformed-body", "The body is not JSON"),
    InvalidParameterError: (400, "invalid-parameter", "A parameter is not what the route takes"),
    TensorsRejectedError: (400, "tensors-rejected", "The tensors are not those that the model takes"),
    ContentEncodingError: (400, "invalid-content-encoding", "The body is not what its encoding says"),
    AuthenticationRequiredError: (401, "authentication-required", "A token is needed"),
    InvalidTokenError: (401, "invalid-token", "The token is not taken"),
    PermissionDeniedError: (403, "permission-denied", "The token is not good for this"),
    RateLimitedError: (429, "rate-limited", "This caller asks too often"),
    OverloadedError: (503, "overloaded", "Too many requests are under way"),
    JWKSUnavailableError: (503, "jwks-unavailable", "The issuer's keys cannot be read"),
    RowsRejectedError: (422, "rows-rejected", "The rows do not fit the model's signature"),
    RequestTimeoutError: (408, "request-timeout", "The request took too long"),
    PayloadTooLargeError: (413, "payload-too-large", "The request is too large"),
    UnknownModelError: (404, "unknown-model", "No such model is declared"),
    UnknownVersionError: (404, "unknown-version", "No such version is registered"),
    ScoreNotFoundError: (404, "score-not-found", "This key was never scored"),
    NoChampionError: (503, "no-champion", "The model has no champion"),
    NotLoadedError: (503, "not-loaded", "The champion is not loaded"),
    ArtifactVerificationError: (
        503,
        "artifact-verification-failed",
        "The version's artifact is not what the ledger says",
    ),
    LedgerUnavailableError: (503, "ledger-unavailable", "The ledger cannot be read"),
    ScoresUnavailableError: (503, "scores-unavailable", "The score tables cannot be read"),
    JobNotFoundError: (404, "job-not-found", "There is no such job"),
    JobFinishedError: (409, "job-finished", "The job is over"),
    TooManyJobsError: (503, "too-many-jobs", "Too many jobs wait"),
    JobsUnavailableError: (503, "jobs-unavailable", "Jobs cannot be read or written"),
}


def kind_of(error: type[SluiceError]) -> tuple[int, str]:
    """Return the status and the title with which an error of this type is answered."""
    status, _, title = _KINDS[error]
    return status, title


def register_problems(app: Flask, *, values: bool) -> None:
    """Have `app` answer every error with a problem document, which repeats refused `values` or does not."""

    def answer(error: Exception) -> Response:
        known = g.get("request_id") or request_id_of(request.headers.get("X-Request-ID"))
        return problem_of(error, request.path, known, values=values)

    app.register_error_handler(Exception, answer)


def problem_of(error: Exception, path: str, request_id: str, *, values: bool) -> Response:
    """Return what a request to `path` is answered that ended in `error`."""
    about = (path, request_id)
    if isinstance(error, HTTPException):
        return _http_problem(error, about)
    if isinstance(error, SluiceError) and type(error) in _KINDS:
        return _sluice_problem(error, about, values=values)
    return _unforeseen_problem(error, about)


def _sluice_problem(error: SluiceError, about: tuple[str, str], *, values: bool) -> Response:
    status, name, title = _KINDS[type(error)]
    more: dict[str, Any] = {}
    detail = str(error)
    if isinstance(error, RowsRejectedError):
        detail = f"{len(error.faults)} value(s) are not what the model takes; see errors."
        more["errors"] = render_errors(error.faults, values=values)
    elif isinstance(error, UnknownModelError):
        more["declared"] = error.declared
    elif isinstance(error, UnknownVersionError):
        more["existing"] = error.existing
    elif isinstance(error, ScoreNotFoundError):
        more["newest_partition"] = error.newest_partition
    answer = _problem(about, status, f"urn:sluice:problem:{name}", title, detail, more)
    if isinstance(error, HTTPError):
        answer.headers.update(error.headers)
    return answer


def _http_problem(error: HTTPException, about: tuple[str, str]) -> Response:
    answer = _problem(about, error.code or 500, "about:blank", error.name, error.description or error.name, {})
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _unforeseen_problem(error: Exception, about: tuple[str, str]) -> Response:
    log_unexpected(log, f"request {about[1]} failed", error)
    detail = "This is a fault of the service, not of the request. Its log tells more under this request id."
    return _problem(about, 500, "about:blank", "Internal Server Error", detail, {})


def _problem(about: tuple[str, str], status: int, kind: str, title: str, detail: str, more: dict[str, Any]) -> Response:
    path, request_id = about
    if path.startswith(OIP_ROOT):
        faults = "; ".join(format_error(each) for each in more.get("errors", ()))
        return _finished(encode({"error": f"{detail} {faults}".rstrip()}), status, "application/json", request_id)
    document = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": request_id,
        **more,
    }
    return _finished(encode(document), status, MEDIA_TYPE, request_id)


def _finished(body: bytes, status: int, media_type: str, request_id: str) -> Response:
    answer = Response(body, status=status, content_type=media_type)
    answer.headers["X-Request-ID"] = request_id
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer
