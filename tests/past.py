"""Thirty past days with a promotion in the middle of them, and the results of scoring them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from include import pipeline
from include.models import declared_models
from tests.builders import retrain

FIRST = datetime(2026, 1, 26, tzinfo=UTC)
LAST = FIRST + timedelta(days=29)  # it ends before TODAY
TURN = datetime(2026, 2, 10, 12, tzinfo=UTC)  # in the middle of a day, in the middle of the thirty
_COUNTED = text(
    """
    SELECT partition_start < :turn_day AS before, version, mode, count(*)
    FROM sluice.published_partition WHERE model = :model GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2
    """
)


def two_versions(engine: Engine, model: str = "parcels") -> None:
    """Register two versions of a model: one was champion until `TURN`, the other is champion since.

    The settings are those of the environment. Nothing is rehearsed: that costs a service each.
    """
    with pipeline.open_resources() as resources:
        spec = declared_models(resources.settings.models_dir)[model]
        for run in ("one", "two"):
            retrain(spec, run, resources)
    promoted(engine, model, 1, 1, FIRST - timedelta(days=1))
    promoted(engine, model, 2, 2, TURN)


def counted(engine: Engine, model: str = "parcels") -> list[tuple[Any, ...]]:
    """Count the published partitions: before the day of the promotion or not, by version and mode."""
    with engine.connect() as connection:
        day = TURN.replace(hour=0)
        return [tuple(row) for row in connection.execute(_COUNTED, {"model": model, "turn_day": day})]


def promoted(engine: Engine, model: str, version: int, sequence: int, at: datetime) -> None:
    """Write a past promotion into the ledger; the database allows to add rows, not to change them."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sluice.promotion"
                " (model, sequence, from_version, to_version, actor, reason, evidence_digest, promoted_at)"
                " VALUES (:model, :sequence, :former, :version, 'tests', 'a life in the past', 'e', :at)"
            ),
            {
                "model": model, "sequence": sequence, "former": version - 1 or None, "version": version, "at": at,
            },
        )  # fmt: skip
