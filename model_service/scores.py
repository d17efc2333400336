"""The route that looks a score up in the score table: what analysts see, for a program."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from include.errors import RowsRejectedError
from include.inference import Fault
from include.inference.faults import shown
from model_service.answers import ClassPrediction, Prediction, ValuePrediction, encode, request_id_of
from model_service.errors import NeverScoredError, ScoresUnavailableError
from model_service.slots import ModelSlot, ModelSlots

LARGEST_BIGINT = 2**63 - 1


def score_routes(slots: ModelSlots, engine: Engine | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/scores/<key>``."""
    routes = Blueprint("scores", __name__)

    @routes.get("/v1/models/<name>/scores/<path:key>")
    def latest_score(name: str, key: str) -> Response:
        request_id = g.request_id = request_id_of(request.headers.get("X-Request-ID"))
        slot = slots[name]
        bound = _bound(slot, key)
        if engine is None:
            raise ScoresUnavailableError
        try:
            row = _latest(engine, slot.name, bound)
            newest = None if row else _newest_partition(engine, slot.name)
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise ScoresUnavailableError from error
        if row is None:
            raise NeverScoredError(name, key, newest)
        return Response(encode({**_score_of(name, row), "request_id": request_id}), mimetype="application/json")

    return routes


def _bound(slot: ModelSlot, key: str) -> str | int:
    """Return the key as the table's type; nothing that the database could stumble over gets through."""
    kind = slot.spec.entity_key.type if slot.spec else slot.loaded().scorer.signature.entity_key.type
    if kind == "text":
        if "\x00" in key:
            raise RowsRejectedError([Fault("key", "text without a NUL character", shown(key))])
        return key
    digits = key.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and abs(int(key)) <= LARGEST_BIGINT:
        return int(key)
    raise RowsRejectedError([Fault("key", "a 64-bit integer", shown(key))])


def _latest(engine: Engine, model: str, key: str | int) -> dict[str, Any] | None:
    # `model` is a declared model's name, checked against Identifier when it was declared.
    # All columns: which there are (one a class) is the table's own to say.
    statement = text(f'SELECT * FROM scores."{model}_latest" WHERE entity_key = :key')  # noqa: S608
    try:
        with engine.connect() as connection:
            row = connection.execute(statement, {"key": key}).mappings().one_or_none()
    except ProgrammingError as error:
        if _is_missing_table(error):
            return None
        raise
    return None if row is None else dict(row)


def _is_missing_table(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "42P01"


def _newest_partition(engine: Engine, model: str) -> str | None:
    statement = text("SELECT max(partition_start) FROM sluice.score_partition WHERE model = :model")
    with engine.connect() as connection:
        newest = connection.execute(statement, {"model": model}).scalar_one()
    return None if newest is None else newest.isoformat()


def _score_of(model: str, row: dict[str, Any]) -> dict[str, Any]:
    prediction: Prediction
    if "predicted" in row:
        probabilities = {name.removeprefix("p_"): value for name, value in row.items() if name.startswith("p_")}
        label = row["predicted"]
        prediction = ClassPrediction(label, list(probabilities).index(label), probabilities)
    else:
        prediction = ValuePrediction(row["value"])
    return {
        "model": model,
        "key": row["entity_key"],
        "partition_start": row["partition_start"],
        "event_time": row["event_time"],
        "prediction": prediction,
        "version": row["model_version"],
        "scored_at": row["scored_at"],
    }
