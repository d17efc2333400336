"""The errors that a request is answered with. Each class carries its HTTP status, problem type, title and headers.

A new error needs a class here and a row in the table of docs/reference/service.md: problem documents, the
OpenAPI description and the headers follow from the class. Errors of the library that know nothing of HTTP
(an unknown model, rejected rows) get theirs in ``_LIBRARY_ERRORS``.

``WWW-Authenticate`` follows RFC 6750, section 3: no error code for a request without a token,
``invalid_token`` for 401, ``insufficient_scope`` for 403.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from include.errors import NoChampionError, RowsRejectedError, SluiceError, UnknownModelError, UnknownVersionError
from include.inference import MAX_FIELD_ERRORS

REALM: Final = 'Bearer realm="sluice"'
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class ProblemKind(NamedTuple):
    """Status, type and title of a problem document. The type's URI is ``urn:sluice:problem:<type>``."""

    status: int
    type: str
    title: str


class HTTPError(SluiceError):
    """An error with an HTTP status.

    Attributes
    ----------
    status : int
    type : str
        The last part of the problem's type URI.
    title : str
        A sentence without a full stop that is the same for every error of the class.
    headers : mapping of str to str
        Headers of the response.
    members : mapping of str to object
        Additional members of the problem document.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]
    headers: Mapping[str, str] = _NONE
    members: Mapping[str, Any] = _NONE


# -- the request itself ----------------------------------------------------------------------------


class MalformedBodyError(HTTPError):
    """The request body is not JSON."""

    status, type, title = 400, "malformed-body", "The request body is not valid JSON"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the body is not JSON: {reason}. Send an object such as "
            '{"features": [5.1, 3.5, 1.4, 0.2]} or {"features": {"name": value}}.'
        )


class IncompleteBodyError(HTTPError):
    """The connection ended before the end of the body."""

    status, type, title = 400, "incomplete-body", "The body is incomplete"

    def __init__(self, received: int, declared: int) -> None:
        super().__init__(
            f"expected {declared} bytes of body, as in Content-Length; found {received} before the connection ended. "
            "Send the complete body."
        )


class InvalidHostError(HTTPError):
    """The request has no header ``Host``, or more than one."""

    status, type, title = 400, "invalid-host", "The header Host is missing or repeated"

    def __init__(self, host: str) -> None:
        found = f"{host[:100]!r}" if host else "none"
        super().__init__(
            f"expected one header Host, as HTTP/1.1 requires; found {found}. Send the host name of the service's URL."
        )


class InvalidParameterError(HTTPError):
    """A query parameter is unknown or has an invalid value."""

    status, type, title = 400, "invalid-parameter", "A query parameter is invalid"

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(f"parameter '{name}': expected {expected}; found {found[:60]!r}.")
        self.name = name


class TensorsRejectedError(HTTPError):
    """An inference request does not follow the protocol, or its tensors do not match the model."""

    status, type, title = 400, "tensors-rejected", "The tensors do not match the model's inputs or outputs"

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(islice(faults, MAX_FIELD_ERRORS))
        super().__init__("; ".join(self.faults))


class ContentEncodingError(HTTPError):
    """A compressed body cannot be decompressed."""

    status, type, title = 400, "invalid-content-encoding", "The body does not match its Content-Encoding"

    def __init__(self, encoding: str, reason: str) -> None:
        super().__init__(
            f"the body is not valid {encoding}: {reason}. Send the complete body, or send it uncompressed."
        )


class PayloadTooLargeError(HTTPError):
    """The request has more bytes, rows or keys than the limit."""

    status, type, title = 413, "payload-too-large", "The request is too large"

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(
            f"the request exceeds the limit of {limit} {what}. Split it into smaller requests, "
            f"or ask the operator to raise {setting}."
        )


class RequestTimeoutError(HTTPError):
    """The request was not received and answered within the time limit."""

    status, type, title = 408, "request-timeout", "The request timed out"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"request timed out: it was not received and answered within {seconds:g} s, so the connection was closed. "
            "Send it again, in smaller parts if it is large, or ask the operator to raise "
            "SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS."
        )


# -- authentication and limits ---------------------------------------------------------------------


class AuthenticationRequiredError(HTTPError):
    """The request carries no token."""

    status, type, title = 401, "authentication-required", "Authentication is required"
    headers = MappingProxyType({"WWW-Authenticate": REALM})

    def __init__(self) -> None:
        super().__init__(
            "expected a token in the header Authorization: Bearer ...; found none. Request a token from your operator."
        )


class InvalidTokenError(HTTPError):
    """The token is malformed, expired or not valid for this service."""

    status, type, title = 401, "invalid-token", "The token is invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid token: {reason}. Request a new one.")
        self.headers = {"WWW-Authenticate": f'{REALM}, error="invalid_token", error_description="{reason}"'}


class PermissionDeniedError(HTTPError):
    """The token is valid but does not grant access to this route or model."""

    status, type, title = 403, "permission-denied", "The token does not grant access"

    def __init__(self, scope: str, reason: str) -> None:
        super().__init__(f"this token does not grant access: {reason}. Use a token with the required scope and model.")
        challenge = f'{REALM}, error="insufficient_scope", error_description="{reason}", scope="{scope}"'
        self.headers = {"WWW-Authenticate": challenge}


class JWKSUnavailableError(HTTPError):
    """The issuer's keys, which tokens are verified with, cannot be read.

    Parameters
    ----------
    seconds : float
        Seconds until they are known, or are read again.
    """

    status, type, title = 503, "jwks-unavailable", "The issuer's keys cannot be read"

    def __init__(self, seconds: float) -> None:
        wait = max(1, math.ceil(seconds))
        super().__init__(f"the token cannot be verified now: its key is not read yet. Try again in {wait} s.")
        self.headers = {"Retry-After": str(wait)}


class OverloadedError(HTTPError):
    """The worker already handles its maximum number of requests."""

    status, type, title = 503, "overloaded", "Too many concurrent requests"
    headers = MappingProxyType({"Retry-After": "1"})

    def __init__(self, limit: int) -> None:
        super().__init__(f"this worker already handles {limit} requests, its maximum. Try again in 1 s.")


class CallerOverloadedError(HTTPError):
    """A caller already has as many requests in progress as one caller may."""

    status, type, title = 429, "caller-overloaded", "Too many concurrent requests of this caller"
    headers = MappingProxyType({"Retry-After": "1"})

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"this worker already handles {limit} requests of this caller, the maximum of one caller. Wait for "
            "responses before sending more, or ask the operator to raise SLUICE_SERVICE_MAX_CONCURRENCY_PER_CALLER."
        )


class RateLimitedError(HTTPError):
    """A caller exceeds its request rate.

    Parameters
    ----------
    rate : float
        Requests per second that the whole service allows for one caller.
    workers : int
        Number of workers that share this rate.
    seconds : float
        Seconds until the next request is allowed.
    """

    status, type, title = 429, "rate-limited", "Too many requests from this caller"

    def __init__(self, rate: float, workers: int, seconds: float) -> None:
        share = f" ({rate / workers:g} on each of {workers} workers)" if workers > 1 else ""
        super().__init__(
            f"rate limit exceeded: at most {rate:g} requests a second from one caller{share}. "
            "Wait for the number of seconds in Retry-After, or ask the operator to raise SLUICE_SERVICE_RATE_LIMIT "
            "(0: no limit)."
        )
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}


class TooManyInvalidTokensError(HTTPError):
    """An address sent too many invalid tokens, so that no further token from there is verified in this second.

    Parameters
    ----------
    rate : float
        Invalid tokens per second that the whole service allows for one address.
    seconds : float
        Seconds until the next token is verified.
    """

    status, type, title = 429, "too-many-invalid-tokens", "Too many invalid tokens from this address"

    def __init__(self, rate: float, seconds: float) -> None:
        super().__init__(
            f"expected at most {rate:g} invalid tokens a second from this address; found more, so this token is not "
            "verified. Wait for the number of seconds in Retry-After, or ask the operator to raise "
            "SLUICE_AUTH_INVALID_TOKEN_RATE_LIMIT."
        )
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}


# -- models ----------------------------------------------------------------------------------------


class NotLoadedError(HTTPError):
    """The model has a champion, but this worker has not loaded it yet or could not load it."""

    status, type, title = 503, "not-loaded", "The champion is not loaded"

    def __init__(self, model: str, *, failed: bool) -> None:
        # The cause contains paths and hosts: only callers with the scope 'models' may see it.
        why = "its champion could not be loaded" if failed else "its champion is being loaded; try again in 1 s"
        super().__init__(
            f"model '{model}' cannot answer yet: {why}. GET /ready reports the cause (with authentication, to tokens "
            "with the scope 'models')."
        )
        self.model = model


class ArtifactVerificationError(HTTPError):
    """A version was requested whose artifact does not match the ledger, so it is not loaded."""

    status, type, title = 503, "artifact-verification-failed", "The artifact does not match its registered digest"

    def __init__(self, model: str, version: int) -> None:
        # The cause contains paths and hosts, so it is in the log only.
        super().__init__(
            f"version {version} of '{model}' cannot be loaded: its artifact could not be read, or is not what was "
            f"registered. Ask the operator, who finds the cause in the service's log and by `sluice verify {model} "
            f"{version}`."
        )
        self.model, self.version = model, version


class LedgerUnavailableError(HTTPError):
    """The database with the ledger does not respond."""

    status, type, title = 503, "ledger-unavailable", "The ledger cannot be read"

    def __init__(self, reason: str = "the database does not respond") -> None:
        super().__init__(
            f"the ledger cannot be read now: {reason}. "
            "Champions and versions in memory continue to answer. Try again later."
        )


# -- scores ----------------------------------------------------------------------------------------


class ScoreNotFoundError(HTTPError):
    """No published partition holds a score of this key."""

    status, type, title = 404, "score-not-found", "There is no score of this key"

    def __init__(self, model: str, key: str, newest_partition: str | None) -> None:
        newest = (
            f"the newest published partition starts at {newest_partition}"
            if newest_partition
            else f"no partition is published yet: run the DAG score_{model} or `sluice score {model}`"
        )
        super().__init__(f"model '{model}' has no score of key '{key[:100]}'; {newest}.")
        self.members = {"newest_partition": newest_partition}


class ScoresUnavailableError(HTTPError):
    """The database with the scores does not respond."""

    status, type, title = 503, "scores-unavailable", "The score tables cannot be read"

    def __init__(self, reason: str = "the database does not respond") -> None:
        super().__init__(
            f"the score tables cannot be read now: {reason}. Predictions are not affected. Try again later."
        )


# -- jobs ------------------------------------------------------------------------------------------


class JobNotFoundError(HTTPError):
    """The caller has no job with this id."""

    status, type, title = 404, "job-not-found", "The job does not exist"

    def __init__(self, job: str) -> None:
        super().__init__(f"job '{job[:40]}' not found: it does not exist, has expired, or belongs to another caller.")


class JobNotDoneError(HTTPError):
    """The predictions of a job were requested that has none yet, or never will."""

    status, type, title = 409, "job-not-done", "The job has no predictions"

    def __init__(self, job: str, state: str) -> None:
        todo = (
            f"GET /v1/jobs/{job} has the reason. Correct it and submit the rows again"
            if state == "failed"
            else f"Request them again when GET /v1/jobs/{job} reports the state done"
        )
        super().__init__(f"expected a job that is done; job '{job}' is {state}. {todo}.")


class JobQuotaExceededError(HTTPError):
    """The caller's own jobs use up one of its quotas."""

    status, type, title = 429, "job-quota-exceeded", "The caller's quota of jobs is used up"

    def __init__(self, reason: str, quota: Mapping[str, Any], seconds: int) -> None:
        super().__init__(reason)
        self.members = {"quota": quota}
        self.headers = {"Retry-After": str(seconds)}


class TooManyJobsError(HTTPError):
    """The jobs of all callers together use up a quota."""

    status, type, title = 503, "too-many-jobs", "There is no room for another job"

    def __init__(self, reason: str, quota: Mapping[str, Any], seconds: int) -> None:
        super().__init__(reason)
        self.members = {"quota": quota}
        self.headers = {"Retry-After": str(seconds)}


class JobsUnavailableError(HTTPError):
    """The database with the jobs does not respond, or the service has no permission to write to it."""

    status, type, title = 503, "jobs-unavailable", "Jobs cannot be read or written"

    def __init__(self, reason: str) -> None:
        super().__init__(f"jobs cannot be read or written now: {reason}. Predictions are not affected.")


# -- errors of the library -------------------------------------------------------------------------

_LIBRARY_ERRORS: Final[Mapping[type[SluiceError], ProblemKind]] = {
    RowsRejectedError: ProblemKind(422, "rows-rejected", "The rows do not match the model's signature"),
    UnknownModelError: ProblemKind(404, "unknown-model", "The model is not declared"),
    UnknownVersionError: ProblemKind(404, "unknown-version", "The version is not registered"),
    NoChampionError: ProblemKind(503, "no-champion", "The model has no champion"),
}


def problem_kind(error: type[SluiceError]) -> ProblemKind | None:
    """Return status, type and title of an error class; None if it is not meant for clients."""
    if issubclass(error, HTTPError):
        return ProblemKind(error.status, error.type, error.title)
    return next((_LIBRARY_ERRORS[each] for each in error.__mro__ if each in _LIBRARY_ERRORS), None)


def problem_kinds() -> list[ProblemKind]:
    """Return every kind of problem that the service answers with."""
    own = (ProblemKind(each.status, each.type, each.title) for each in HTTPError.__subclasses__())
    return [*own, *_LIBRARY_ERRORS.values()]
