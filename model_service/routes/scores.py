"""Look-ups of published scores: ``GET .../scores/<key>`` and ``POST .../scores:lookup``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, request
from msgspec.structs import astuple
from sqlalchemy import Connection
from werkzeug.routing import PathConverter

from include.errors import RowsRejectedError, UnknownModelError
from include.settings import Settings
from model_service.db import score_repository as repository
from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.db.score_repository import Score
from model_service.http import score_params as params
from model_service.http.body import read_body
from model_service.http.compression import decompress
from model_service.http.errors import (
    ContentEncodingError,
    InvalidParameterError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    ScoreNotFoundError,
    ScoresUnavailableError,
)
from model_service.http.json import json_response
from model_service.http.json_structure import check_depth
from model_service.http.middleware import current_request_context, requires_scope
from model_service.http.score_params import Key, KeyKind
from model_service.http.timestamps import parse_partition
from model_service.models.registry import ModelRegistry, ServedModel
from model_service.openapi import Operation, Parameter, RequestBody, documented

T = TypeVar("T")


class KeyConverter(PathConverter):
    """The rest of a path, whatever it is: keys may have newlines and may begin with a slash.

    Flask's own ``path`` matches neither. A second slash at the beginning would then be a redirect to another key.
    """

    regex = "(?s:.+)"
    part_isolating = False  # as Flask's: it matches slashes


class ScoreResponse(Score, kw_only=True):
    """One score."""

    model: str
    request_id: str


class ScoreHistoryResponse(msgspec.Struct):
    """A page of a key's scores, newest first."""

    model: str
    key: Key
    scores: list[Score]
    next_cursor: str | None
    request_id: str


class ScoreLookupResponse(msgspec.Struct):
    """The newest score of each requested key, in their order; null for a key without a score."""

    model: str
    scores: list[Score | None]
    request_id: str


class ScoreLookupRequest(msgspec.Struct):
    """The keys to look up."""

    keys: list[Key]


_KEY = Parameter(
    "key", {"type": "string", "minLength": 1}, "The entity key, percent-encoded UTF-8. Slashes need no escape."
)
_QUERY = (
    Parameter("partition", {"type": "string"}, "Start of the partition: YYYY-MM-DD (UTC) or RFC 3339."),
    Parameter("history", {"type": "boolean"}, "true: return all scores of the key, newest first, in pages."),
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": params.MAX_PAGE},
        f"With history: maximum number of scores on a page. Default: {params.DEFAULT_PAGE}.",
    ),
    Parameter("cursor", {"type": "string"}, "With history: next_cursor of the previous page."),
)
_PROBLEMS = (UnknownModelError, RowsRejectedError, NotLoadedError, ScoresUnavailableError)


def score_routes(settings: Settings, registry: ModelRegistry, executor: QueryExecutor | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/scores/<key>`` and ``POST /v1/models/<name>/scores:lookup``."""
    routes = Blueprint("scores", __name__)
    routes.record(lambda state: state.app.url_map.converters.update(key=KeyConverter))

    def read(query: Callable[[Connection], T]) -> T:
        if executor is None:
            raise ScoresUnavailableError("no database is configured")
        try:
            return executor.run(query)
        except DatabaseUnavailableError as error:
            raise ScoresUnavailableError(str(error)) from error

    @routes.get("/v1/models/<name>/scores/<key:key>")
    @requires_scope("scores")
    @documented(
        Operation(
            summary="Get a key's newest score, its score in one partition, or its history",
            tag="scores",
            responses={200: ScoreResponse | ScoreHistoryResponse},
            problems=(*_PROBLEMS, InvalidParameterError, ScoreNotFoundError),
            query=_QUERY,
            path={"key": _KEY},
        )
    )
    def scores_of_key(name: str, key: str) -> Response:
        served = registry[name]
        params.check_encoding(request.environ["PATH_INFO"])
        bound = params.parse_key(key, _kind(served))
        given = request.args.to_dict()
        if params.parse_bool("history", given.pop("history", None)):
            params.reject_unknown_parameters(given, ("limit", "cursor"))
            return _page(read, served, bound, given)
        params.reject_unknown_parameters(given, ("partition",))
        partition = parse_partition(given["partition"]) if given else None
        classes = _classes(served)
        score = read(
            lambda connection: (
                repository.newest_score(connection, name, bound, classes)
                if partition is None
                else repository.score_of_partition(connection, name, bound, classes, partition)
            )
        )
        if score is None:
            raise _not_found(read, name, bound)
        return json_response(
            ScoreResponse(*astuple(score), model=name, request_id=current_request_context().request_id)
        )

    @routes.post("/v1/models/<name>/scores:lookup")
    @requires_scope("scores")
    @documented(
        Operation(
            summary="Get the newest scores of many keys",
            tag="scores",
            responses={200: ScoreLookupResponse},
            problems=(
                *(*_PROBLEMS, InvalidParameterError, MalformedBodyError, PayloadTooLargeError),
                *(ContentEncodingError, 415),
            ),
            body=RequestBody(ScoreLookupRequest, example={"keys": ["9E2900-JFK-20261122T1550"]}),
        )
    )
    def scores_of_keys(name: str) -> Response:
        served = registry[name]
        params.reject_unknown_parameters(request.args.to_dict(), ())
        kind = _kind(served)
        body = read_body(request.environ, settings.service_max_bytes)
        body = decompress(body, request.environ.get("HTTP_CONTENT_ENCODING"), settings.service_max_bytes)
        structure = check_depth(body, settings.service_max_depth, 1, width=settings.service_max_keys)
        keys = params.parse_keys(body, kind, settings.service_max_keys, structure)
        classes = _classes(served)
        scores = read(lambda db: repository.newest_scores(db, name, keys, kind, classes)) if keys else []
        return json_response(ScoreLookupResponse(name, scores, current_request_context().request_id))

    return routes


def _page(read: Callable[..., list[Score]], served: ServedModel, key: Key, given: dict[str, str]) -> Response:
    model, classes = served.name, _classes(served)
    limit = params.parse_limit(given.get("limit"))
    before = params.decode_cursor(given.get("cursor"))
    # One more than the limit: it tells whether there is another page.
    scores = read(lambda db: repository.score_history(db, model, key, classes, limit=limit + 1, before=before))
    if not scores and before is None:
        raise _not_found(read, model, key)
    page = scores[:limit]
    cursor = params.encode_cursor(page[-1].partition_start) if len(scores) > limit else None
    return json_response(ScoreHistoryResponse(model, key, page, cursor, current_request_context().request_id))


def _not_found(read: Callable[..., Any], model: str, key: Key) -> ScoreNotFoundError:
    newest: datetime | None = read(lambda connection: repository.newest_partition(connection, model))
    return ScoreNotFoundError(model, str(key), newest.isoformat() if newest else None)


def _classes(served: ServedModel) -> tuple[str, ...]:
    """Return the labels of the classes in the score table, in the order of the version that answers."""
    if served.current is not None:
        return served.current.classes
    return served.spec.target.classes if served.spec is not None else ()


def _kind(served: ServedModel) -> KeyKind:
    """Return the type of the keys in the score table: that of the version that scores, whatever is declared now.

    Without a loaded version it is the declared one, so that look-ups need no model in memory.
    """
    if served.current is None and served.spec is not None:
        return served.spec.entity_key.type
    return served.require_loaded().scorer.signature.entity_key.type
