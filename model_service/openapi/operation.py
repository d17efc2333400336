"""What a view says of itself, beside its route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from include.errors import SluiceError
from include.inference import ModelSignature
from model_service.http.errors import PayloadTooLargeError, RequestTimeoutError
from model_service.http.refusals import (
    AuthenticationRequiredError,
    InvalidTokenError,
    JWKSUnavailableError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
)

Schema = Mapping[str, Any]
Problem = type[SluiceError] | int
View = TypeVar("View", bound=Callable[..., Any])

_MARK: Final = "__sluice_operation__"

# What any route can answer, and what any route behind the middleware can: error types, or bare statuses.
COMMON_PROBLEMS: Final[tuple[Problem, ...]] = (500,)
PROTECTED_PROBLEMS: Final[tuple[Problem, ...]] = (
    AuthenticationRequiredError,
    InvalidTokenError,
    PermissionDeniedError,
    RateLimitedError,
    OverloadedError,
    JWKSUnavailableError,
)
# A variable of a path that holds a slash, or other things that name another route, finds that one or none.
PATH_PROBLEMS: Final[tuple[Problem, ...]] = (404, 405)
# Reading a body can always fail so.
BODY_PROBLEMS: Final[tuple[Problem, ...]] = (400, RequestTimeoutError, PayloadTooLargeError)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query, a path or a header."""

    name: str
    schema: Schema
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One answer that is no error.

    Parameters
    ----------
    description : str
    schema : type or mapping, optional
        A type that msgspec knows, or a JSON schema; None: the answer has no body.
    media_type : str
    other_media : tuple of str
        Of which it may be as well, without a schema.
    headers : mapping of str to str
        What it always carries beside `X-Request-ID`, each with what it tells.
    links : mapping of str to (str, mapping of str to str)
        Operations that take what it answered: by name their ids, and their parameters as runtime expressions.
    """

    description: str
    schema: Any = None
    media_type: str = "application/json"
    other_media: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What a request carries: media type to a type that msgspec knows, or to a JSON schema."""

    schema: Any
    media_type: str = "application/json"
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers.

    Parameters
    ----------
    summary, description : str
    tag : str
        Under which heading it stands in the docs.
    responses : mapping of int to (ResponseSpec, type or JSON schema)
        Each answer that is no error, by status.
    problems : tuple of (error type or int)
        Each error it can answer with, beside those of `COMMON_PROBLEMS` and `PROTECTED_PROBLEMS`.
    body : RequestBody, optional
    query, headers : tuple of Parameter
    path : mapping of str to Parameter
        What is to be said of the path's variables.
    error_format : {"problem", "oip"}
        The form of errors: RFC 9457, or the ``{"error": ...}`` of the Open Inference Protocol.
    per_model : callable, optional
        Given a loaded model's signature, the operation as it is for that model alone: it is listed
        once more under the model's own path.
    """

    summary: str
    tag: str
    responses: Mapping[int, Any]
    description: str = ""
    problems: tuple[Problem, ...] = ()
    body: RequestBody | None = None
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    path: Mapping[str, Parameter] = field(default_factory=dict)
    error_format: Literal["problem", "oip"] = "problem"
    per_model: Callable[[ModelSignature], Operation] | None = None


def documented(operation: Operation) -> Callable[[View], View]:
    """Mark a view with what it takes and answers."""

    def mark(view: View) -> View:
        setattr(view, _MARK, operation)
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return what `view` was marked with."""
    return getattr(view, _MARK, None)
