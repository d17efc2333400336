"""The description of a view, which stands beside its route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from include.errors import SluiceError
from include.inference import ModelSignature
from model_service.http.errors import (
    AuthenticationRequiredError,
    CallerOverloadedError,
    IncompleteBodyError,
    InvalidTokenError,
    JWKSUnavailableError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
)

Schema = Mapping[str, Any]
Problem = type[SluiceError] | int
View = TypeVar("View", bound=Callable[..., Any])

_MARK: Final = "__sluice_operation__"

# The errors of every route, and those of every route with a scope: error classes or statuses.
COMMON_PROBLEMS: Final[tuple[Problem, ...]] = (500,)
PROTECTED_PROBLEMS: Final[tuple[Problem, ...]] = (
    AuthenticationRequiredError,
    InvalidTokenError,
    PermissionDeniedError,
    CallerOverloadedError,
    RateLimitedError,
    OverloadedError,
    JWKSUnavailableError,
)
# A path variable with a slash, for example, can match another route or none.
PATH_PROBLEMS: Final[tuple[Problem, ...]] = (404, 405)
# Reading a body can fail so on every route.
BODY_PROBLEMS: Final[tuple[Problem, ...]] = (400, IncompleteBodyError, RequestTimeoutError, PayloadTooLargeError)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query, a path or a header."""

    name: str
    schema: Schema
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """A response that is not an error.

    Parameters
    ----------
    description : str
    schema : type or mapping, optional
        A type that msgspec knows, or a JSON schema; None: the response has no body.
    media_type : str
    other_media : tuple of str
        Other possible media types, without a schema.
    headers : mapping of str to str
        The headers that it always has besides `X-Request-ID`, each with its description.
    links : mapping of str to (str, mapping of str to str)
        Operations that use values of the response: by name their ids, and their parameters as runtime expressions.
    """

    description: str
    schema: Any = None
    media_type: str = "application/json"
    other_media: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The body of a request: a type that msgspec knows, or a JSON schema."""

    schema: Any
    media_type: str = "application/json"
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """The requests and responses of a route.

    Parameters
    ----------
    summary, description : str
    tag : str
        The section of the docs page.
    responses : mapping of int to (ResponseSpec, type or JSON schema)
        The responses that are not errors, by status.
    problems : tuple of (error type or int)
        Its errors besides those in `COMMON_PROBLEMS` and `PROTECTED_PROBLEMS`.
    body : RequestBody, optional
    query, headers : tuple of Parameter
    path : mapping of str to Parameter
        The descriptions of path variables.
    error_format : {"problem", "oip"}
        The format of errors: RFC 9457, or the ``{"error": ...}`` of the Open Inference Protocol.
    per_model : callable, optional
        Takes the signature of a loaded model and returns the operation for this model, which is listed in addition
        under the model's own path.
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
    """Attach a description to a view."""

    def mark(view: View) -> View:
        setattr(view, _MARK, operation)
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return the description of a view."""
    return getattr(view, _MARK, None)
