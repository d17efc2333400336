"""The routes that look scores up in the score table: what analysts see, for a program."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, request
from msgspec.structs import astuple
from sqlalchemy import Connection

from include.errors import RowsRejectedError, UnknownModelError
from include.settings import Settings
from model_service.db import score_repository as tables
from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.db.score_repository import Key, KeyKind, Score
from model_service.http import score_params as asked
from model_service.http.body import read_body
from model_service.http.errors import (
    InvalidParameterError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    ScoreNotFoundError,
    ScoresUnavailableError,
)
from model_service.http.limits import check_depth
from model_service.http.middleware import current_request_context, requires_scope
from model_service.http.responses import encode
from model_service.models.registry import ModelRegistry, ServedModel
from model_service.openapi import Operation, Parameter, RequestBody, documented

T = TypeVar("T")


class ScoreResponse(Score, kw_only=True):
    """One score, with what every answer says of itself."""

    model: str
    request_id: str


class ScoreHistoryResponse(msgspec.Struct):
    """A page of a key's scores, the newest first."""

    model: str
    key: Key
    scores: list[Score]
    next_cursor: str | None
    request_id: str


class ScoreLookupResponse(msgspec.Struct):
    """The newest score of each key asked for, in their order; null for a key that was never scored."""

    model: str
    scores: list[Score | None]
    request_id: str


class ScoreLookupRequest(msgspec.Struct):
    """The keys whose newest scores are wanted."""

    keys: list[Key]


_KEY = Parameter("key", {"type": "string", "minLength": 1}, "The entity's key; slashes may stand as they are.")
_OF_A_KEY = (
    Parameter("partition", {"type": "string"}, "Start of the partition: YYYY-MM-DD (UTC), or RFC 3339."),
    Parameter("history", {"type": "boolean"}, "true: all scores of the key, the newest first, in pages."),
    Parameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": asked.MAX_PAGE}, "Most scores of a page of history."
    ),
    Parameter("cursor", {"type": "string"}, "next_cursor of the page before."),
)
_PROBLEMS = (UnknownModelError, RowsRejectedError, NotLoadedError, ScoresUnavailableError)


def score_routes(settings: Settings, registry: ModelRegistry, executor: QueryExecutor | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/scores/<key>`` and ``POST /v1/models/<name>/scores:lookup``."""
    routes = Blueprint("scores", __name__)

    def read(query: Callable[[Connection], T]) -> T:
        if executor is None:
            raise ScoresUnavailableError
        try:
            return executor.run(query)
        except DatabaseUnavailableError as error:
            raise ScoresUnavailableError from error

    @routes.get("/v1/models/<name>/scores/<path:key>")
    @requires_scope("scores")
    @documented(
        Operation(
            summary="The newest score of a key, its score of one partition, or all of them",
            tag="scores",
            responses={200: ScoreResponse | ScoreHistoryResponse},
            problems=(*_PROBLEMS, InvalidParameterError, ScoreNotFoundError),
            query=_OF_A_KEY,
            path={"key": _KEY},
        )
    )
    def scores_of_key(name: str, key: str) -> Response:
        served = registry[name]
        bound = asked.parse_key(key, _kind(served))
        parameters = request.args.to_dict()
        if asked.parse_bool("history", parameters.pop("history", None)):
            asked.reject_unknown_parameters(parameters, ("limit", "cursor"))
            return _page(read, served.name, bound, parameters)
        asked.reject_unknown_parameters(parameters, ("partition",))
        partition = asked.parse_partition(parameters["partition"]) if parameters else None
        score = read(
            lambda connection: (
                tables.newest_score(connection, name, bound)
                if partition is None
                else tables.score_of_partition(connection, name, bound, partition)
            )
        )
        if score is None:
            raise _never_scored(read, name, bound)
        return _json(ScoreResponse(*astuple(score), model=name, request_id=current_request_context().request_id))

    @routes.post("/v1/models/<name>/scores:lookup")
    @requires_scope("scores")
    @documented(
        Operation(
            summary="The newest scores of many keys",
            tag="scores",
            responses={200: ScoreLookupResponse},
            problems=(*_PROBLEMS, InvalidParameterError, MalformedBodyError, PayloadTooLargeError),
            body=RequestBody(ScoreLookupRequest, example={"keys": ["9E2900-JFK-20261122T1550"]}),
        )
    )
    def scores_of_keys(name: str) -> Response:
        served = registry[name]
        asked.reject_unknown_parameters(request.args.to_dict(), ())
        kind = _kind(served)
        body = read_body(request.environ, settings.service_max_bytes)
        check_depth(body, settings.service_max_depth)
        keys = asked.parse_keys(body, kind, settings.service_max_keys)
        scores = read(lambda connection: tables.newest_scores(connection, name, keys, kind)) if keys else []
        return _json(ScoreLookupResponse(name, scores, current_request_context().request_id))

    return routes


def _page(read: Callable[..., list[Score]], model: str, key: Key, parameters: dict[str, str]) -> Response:
    limit = asked.parse_limit(parameters.get("limit"))
    before = asked.decode_cursor(parameters.get("cursor"))
    # One more than is shown tells whether there is another page.
    found = read(lambda connection: tables.score_history(connection, model, key, limit=limit + 1, before=before))
    if not found and before is None:
        raise _never_scored(read, model, key)
    shown = found[:limit]
    cursor = asked.encode_cursor(shown[-1].partition_start) if len(found) > limit else None
    return _json(ScoreHistoryResponse(model, key, shown, cursor, current_request_context().request_id))


def _never_scored(read: Callable[..., Any], model: str, key: Key) -> ScoreNotFoundError:
    newest: datetime | None = read(lambda connection: tables.newest_partition(connection, model))
    return ScoreNotFoundError(model, str(key), newest.isoformat() if newest else None)


def _kind(served: ServedModel) -> KeyKind:
    return served.spec.entity_key.type if served.spec else served.require_loaded().scorer.signature.entity_key.type


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), mimetype="application/json")
