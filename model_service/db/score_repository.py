"""Reading the score tables: what batch scoring published, one query a question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from model_service.http.responses import ClassPrediction, Prediction, ValuePrediction

Key = str | int
KeyKind = Literal["text", "bigint"]


class Score(msgspec.Struct):
    """One published score of one key."""

    key: Key
    partition_start: datetime
    event_time: datetime
    prediction: Prediction
    version: int
    scored_at: datetime


# In all of these `model` is a declared model's name, checked as an identifier when it was declared; whatever a
# client sent is bound. All columns are read: which there are (one a class) is the table's own to say.


def newest_score(connection: Connection, model: str, key: Key) -> Score | None:
    """Return the key's score of the newest partition that holds it."""
    found = score_history(connection, model, key, limit=1)
    return found[0] if found else None


def score_of_partition(connection: Connection, model: str, key: Key, partition: datetime) -> Score | None:
    """Return the key's score of the partition that starts at `partition`."""
    found = _rows(
        connection,
        f'SELECT * FROM scores."{model}" WHERE entity_key = :key AND partition_start = :partition',  # noqa: S608
        {"key": key, "partition": partition},
    )
    return found[0] if found else None


def score_history(
    connection: Connection, model: str, key: Key, *, limit: int, before: datetime | None = None
) -> list[Score]:
    """Return up to `limit` scores of the key, the newest first, of partitions that start before `before`."""
    # Partitions are read from the newest on, and only until the limit is reached.
    earlier = "AND partition_start < :before" if before else ""
    return _rows(
        connection,
        f'SELECT * FROM scores."{model}" WHERE entity_key = :key {earlier} '  # noqa: S608
        "ORDER BY partition_start DESC LIMIT :limit",
        {"key": key, "limit": limit} | ({"before": before} if before else {}),
    )


def newest_scores(connection: Connection, model: str, keys: Sequence[Key], kind: KeyKind) -> list[Score | None]:
    """Return the newest score of each of `keys`, in their order; None for one that was never scored."""
    # A join, not the view: with a year of partitions and 1,000 keys half the time (docs/decisions/0005).
    found = _rows(
        connection,
        "SELECT DISTINCT ON (score.entity_key) score.* "  # noqa: S608
        f'FROM unnest(CAST(:keys AS {kind}[])) AS asked(key) JOIN scores."{model}" AS score '
        "ON score.entity_key = asked.key ORDER BY score.entity_key, score.partition_start DESC",
        {"keys": list(dict.fromkeys(keys))},
    )
    by_key = {score.key: score for score in found}
    return [by_key.get(key) for key in keys]


def newest_partition(connection: Connection, model: str) -> datetime | None:
    """Return the start of the newest partition that was published."""
    statement = text("SELECT max(partition_start) FROM sluice.partition_publication WHERE model = :model")
    newest: datetime | None = connection.execute(statement, {"model": model}).scalar_one()
    return newest


def _rows(connection: Connection, statement: str, parameters: dict[str, Any]) -> list[Score]:
    try:
        rows = connection.execute(text(statement), parameters).mappings().all()
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == "42P01":  # the table is made when the model is first scored
            connection.rollback()
            return []
        raise
    return [_score_of(dict(row)) for row in rows]


def _score_of(row: dict[str, Any]) -> Score:
    prediction: Prediction
    if "predicted_label" in row:
        probabilities = {name.removeprefix("p_"): value for name, value in row.items() if name.startswith("p_")}
        label = row["predicted_label"]
        prediction = ClassPrediction(label, list(probabilities).index(label), probabilities)
    else:
        prediction = ValuePrediction(row["value"])
    return Score(
        row["entity_key"],
        row["partition_start"],
        row["event_time"],
        prediction,
        row["model_version"],
        row["scored_at"],
    )
