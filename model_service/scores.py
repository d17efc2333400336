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
from model_service import score_questions as asked
from model_service import score_tables as tables
from model_service.answers import encode
from model_service.body import read_body
from model_service.door import DatabaseDoor, DoorShutError
from model_service.errors import (
    BadQueryError,
    MalformedBodyError,
    NeverScoredError,
    NotLoadedError,
    ScoresUnavailableError,
    TooLargeError,
)
from model_service.guard import asks, current_visit
from model_service.limits import check_depth
from model_service.openapi import Body, Operation, Parameter, documented
from model_service.score_tables import Key, KeyKind, Score
from model_service.slots import ModelSlot, ModelSlots

T = TypeVar("T")


class ScoreAnswer(Score, kw_only=True):
    """One score, with what every answer says of itself."""

    model: str
    request_id: str


class HistoryAnswer(msgspec.Struct):
    """A page of a key's scores, the newest first."""

    model: str
    key: Key
    scores: list[Score]
    next_cursor: str | None
    request_id: str


class LookupAnswer(msgspec.Struct):
    """The newest score of each key asked for, in their order; null for a key that was never scored."""

    model: str
    scores: list[Score | None]
    request_id: str


class LookupQuestion(msgspec.Struct):
    """The keys whose newest scores are wanted."""

    keys: list[Key]


_KEY = Parameter("key", {"type": "string", "minLength": 1}, "The entity's key; slashes may stand as they are.")
_OF_A_KEY = (
    Parameter("partition", {"type": "string"}, "Start of the partition: YYYY-MM-DD (UTC), or RFC 3339."),
    Parameter("history", {"type": "boolean"}, "true: all scores of the key, the newest first, in pages."),
    Parameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": asked.LARGEST_PAGE}, "Most scores of a page of history."
    ),
    Parameter("cursor", {"type": "string"}, "next_cursor of the page before."),
)
_PROBLEMS = (UnknownModelError, RowsRejectedError, NotLoadedError, ScoresUnavailableError)


def score_routes(settings: Settings, slots: ModelSlots, door: DatabaseDoor | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/scores/<key>`` and ``POST /v1/models/<name>/scores:lookup``."""
    routes = Blueprint("scores", __name__)

    def read(question: Callable[[Connection], T]) -> T:
        if door is None:
            raise ScoresUnavailableError
        try:
            return door.ask(question)
        except DoorShutError as error:
            raise ScoresUnavailableError from error

    @routes.get("/v1/models/<name>/scores/<path:key>")
    @asks("scores")
    @documented(
        Operation(
            summary="The newest score of a key, its score of one partition, or all of them",
            tag="scores",
            answers={200: ScoreAnswer | HistoryAnswer},
            problems=(*_PROBLEMS, BadQueryError, NeverScoredError),
            query=_OF_A_KEY,
            path={"key": _KEY},
        )
    )
    def scores_of_key(name: str, key: str) -> Response:
        slot = slots[name]
        bound = asked.key_of(key, _kind(slot))
        parameters = request.args.to_dict()
        if asked.flag_of("history", parameters.pop("history", None)):
            asked.check_parameters(parameters, ("limit", "cursor"))
            return _page(read, slot.name, bound, parameters)
        asked.check_parameters(parameters, ("partition",))
        partition = asked.partition_of(parameters["partition"]) if parameters else None
        score = read(
            lambda connection: (
                tables.newest_score(connection, name, bound)
                if partition is None
                else tables.score_of_partition(connection, name, bound, partition)
            )
        )
        if score is None:
            raise _never_scored(read, name, bound)
        return _json(ScoreAnswer(*astuple(score), model=name, request_id=current_visit().request_id))

    @routes.post("/v1/models/<name>/scores:lookup")
    @asks("scores")
    @documented(
        Operation(
            summary="The newest scores of many keys",
            tag="scores",
            answers={200: LookupAnswer},
            problems=(*_PROBLEMS, BadQueryError, MalformedBodyError, TooLargeError),
            body=Body(LookupQuestion, example={"keys": ["9E2900-JFK-20261122T1550"]}),
        )
    )
    def scores_of_keys(name: str) -> Response:
        slot = slots[name]
        asked.check_parameters(request.args.to_dict(), ())
        kind = _kind(slot)
        body = read_body(request.environ, settings.service_max_bytes)
        check_depth(body, settings.service_max_depth)
        keys = asked.keys_of(body, kind, settings.service_max_keys)
        scores = read(lambda connection: tables.newest_scores(connection, name, keys, kind)) if keys else []
        return _json(LookupAnswer(name, scores, current_visit().request_id))

    return routes


def _page(read: Callable[..., list[Score]], model: str, key: Key, parameters: dict[str, str]) -> Response:
    limit = asked.limit_of(parameters.get("limit"))
    before = asked.place_of(parameters.get("cursor"))
    # One more than is shown tells whether there is another page.
    found = read(lambda connection: tables.score_history(connection, model, key, limit=limit + 1, before=before))
    if not found and before is None:
        raise _never_scored(read, model, key)
    shown = found[:limit]
    cursor = asked.cursor_after(shown[-1].partition_start) if len(found) > limit else None
    return _json(HistoryAnswer(model, key, shown, cursor, current_visit().request_id))


def _never_scored(read: Callable[..., Any], model: str, key: Key) -> NeverScoredError:
    newest: datetime | None = read(lambda connection: tables.newest_partition(connection, model))
    return NeverScoredError(model, str(key), newest.isoformat() if newest else None)


def _kind(slot: ModelSlot) -> KeyKind:
    return slot.spec.entity_key.type if slot.spec else slot.loaded().scorer.signature.entity_key.type


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), mimetype="application/json")
