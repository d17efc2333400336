"""Reads the score tables: the published results of batch scoring, one query per look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from include.score_table import KEY, LABEL, PARTITION, PROBABILITY, SCORED_AT, TIME, VALUE, VERSION
from include.spec import class_columns, possible_columns
from model_service.http.responses import ClassPrediction, Prediction, ValuePrediction
from model_service.http.score_params import Key, KeyKind


class Score(msgspec.Struct):
    """One published score of one key."""

    key: Key
    partition_start: datetime
    event_time: datetime
    prediction: Prediction
    version: int
    scored_at: datetime


# In all queries `model` is the name of a declared model, which was validated as an identifier when it was declared;
# values from a client are bound. All columns are selected, because each class of a model has a column of its own.
# `classes` are the labels that these columns are read as, in the order of the response.


def newest_score(connection: Connection, model: str, key: Key, classes: Sequence[str]) -> Score | None:
    """Return the key's score in the newest partition that has one."""
    scores = score_history(connection, model, key, classes, limit=1)
    return scores[0] if scores else None


def score_of_partition(
    connection: Connection, model: str, key: Key, classes: Sequence[str], partition: datetime
) -> Score | None:
    """Return the key's score in the partition that starts at `partition`."""
    scores = _select(
        connection,
        f'SELECT * FROM scores."{model}" WHERE entity_key = :key AND partition_start = :partition',  # noqa: S608
        {"key": key, "partition": partition},
        classes,
    )
    return scores[0] if scores else None


def score_history(
    connection: Connection, model: str, key: Key, classes: Sequence[str], *, limit: int, before: datetime | None = None
) -> list[Score]:
    """Return up to `limit` scores of the key, newest first, in partitions that start before `before`."""
    # The newest partitions are read first, and no more than the limit needs.
    earlier = "AND partition_start < :before" if before else ""
    return _select(
        connection,
        f'SELECT * FROM scores."{model}" WHERE entity_key = :key {earlier} '  # noqa: S608
        "ORDER BY partition_start DESC LIMIT :limit",
        {"key": key, "limit": limit} | ({"before": before} if before else {}),
        classes,
    )


def newest_scores(
    connection: Connection, model: str, keys: Sequence[Key], kind: KeyKind, classes: Sequence[str]
) -> list[Score | None]:
    """Return the newest score of each of `keys`, in their order; None for a key without a score."""
    # A join takes half the time of the view, with a year of partitions and 1,000 keys (docs/decisions/0005).
    scores = _select(
        connection,
        "SELECT DISTINCT ON (score.entity_key) score.* "  # noqa: S608
        f'FROM unnest(CAST(:keys AS {kind}[])) AS requested(key) JOIN scores."{model}" AS score '
        "ON score.entity_key = requested.key ORDER BY score.entity_key, score.partition_start DESC",
        {"keys": list(dict.fromkeys(keys))},
        classes,
    )
    by_key = {score.key: score for score in scores}
    return [by_key.get(key) for key in keys]


def newest_partition(connection: Connection, model: str) -> datetime | None:
    """Return the start of the newest published partition."""
    statement = text("SELECT max(partition_start) FROM sluice.published_partition WHERE model = :model")
    newest: datetime | None = connection.execute(statement, {"model": model}).scalar_one()
    return newest


def _select(connection: Connection, statement: str, parameters: dict[str, Any], classes: Sequence[str]) -> list[Score]:
    try:
        rows = connection.execute(text(statement), parameters).mappings().all()
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == "42P01":  # the table is created when the model is first scored
            connection.rollback()
            return []
        raise
    columns = class_columns(classes)
    if rows and not rows[0].keys() >= set(columns.values()):  # the table is of other classes than are declared now
        columns = {name.removeprefix(PROBABILITY): name for name in rows[0] if name.startswith(PROBABILITY)}
    return [_score_of(row, columns) for row in rows]


def _with_label(label: str, columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return the columns by label, so that the label of a row is among them: a class may have been renamed since.

    "On time" and "on_time" have the same column, so the score table takes both.
    """
    if label in columns:
        return columns
    own = possible_columns(label)
    return {label if column in own else known: column for known, column in columns.items()}


def _score_of(row: Mapping[Any, Any], columns: Mapping[str, str]) -> Score:
    prediction: Prediction
    if LABEL in row:
        label = row[LABEL]
        probabilities = {known: row[column] for known, column in _with_label(label, columns).items()}
        prediction = ClassPrediction(label, list(probabilities).index(label), probabilities)
    else:
        prediction = ValuePrediction(row[VALUE])
    return Score(
        row[KEY],
        row[PARTITION],
        row[TIME],
        prediction,
        row[VERSION],
        row[SCORED_AT],
    )
