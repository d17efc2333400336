"""A column that is added to the list of a score table's columns comes into tables that were made before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from include import score_table
from include.records import Period
from include.score_table import ScoreColumn, table_columns
from include.scoring.tables import ensure_score_table, ensure_shadow_table
from tests.scoring.conftest import DAY, Harness

NEXT = Period(start=DAY.start + timedelta(days=1), end=DAY.end + timedelta(days=1))
MORE = (
    ScoreColumn(
        "confidence",
        "double precision",
        "The greatest probability",
        rows=lambda batch: batch.scores.max(axis=1),
        required=False,
    ),
    ScoreColumn("origin", "text", "What wrote the row", default="'batch'"),
)
COMMENTS = """
    SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'scores.{}'::regclass AND attname IN ('confidence', 'origin') ORDER BY attname
"""
WITH_COMMENTS = [("confidence", "The greatest probability"), ("origin", "What wrote the row")]


@pytest.fixture
def add_columns(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Adds the columns to the list."""
    listed = score_table.columns_of

    def add() -> None:
        monkeypatch.setattr(score_table, "columns_of", lambda *names: (*listed(*names), *MORE))

    return add


def rows(harness: Harness, relation: str = "parcels") -> list[tuple]:
    return harness.read(
        f"SELECT DISTINCT partition_start, p_late, confidence, origin FROM scores.{relation} ORDER BY partition_start"
    )


def test_a_table_made_before_has_the_column_with_null_or_the_default(
    harness: Harness, add_columns: Callable[[], None]
) -> None:
    harness.score(3)
    add_columns()
    harness.score(3, "next", period=NEXT, weight=48)
    assert rows(harness) == [(DAY.start, 0.25, None, "batch"), (NEXT.start, 0.75, 0.75, "batch")]
    assert rows(harness, "parcels_latest") == [(NEXT.start, 0.75, 0.75, "batch")], "both days have the same keys"
    for relation in ("parcels", "parcels_latest"):
        assert harness.read(COMMENTS.format(relation)) == WITH_COMMENTS


def test_a_partition_published_before_is_replaced_with_the_column(
    harness: Harness, add_columns: Callable[[], None]
) -> None:
    harness.score(3)
    add_columns()
    harness.score(3, "again")
    assert rows(harness) == [(DAY.start, 0.25, 0.75, "batch")]


def test_adding_twice_changes_nothing(harness: Harness, add_columns: Callable[[], None]) -> None:
    harness.score(3)
    add_columns()
    for _ in range(2):
        ensure_score_table(harness.engine, harness.spec)
    found = harness.read("SELECT attname FROM pg_attribute WHERE attrelid = 'scores.parcels'::regclass AND attnum > 0")
    assert sorted(name for (name,) in found) == sorted(column.name for column in table_columns(harness.spec))


def test_a_challengers_table_gets_it_too(harness: Harness, add_columns: Callable[[], None]) -> None:
    with harness.engine.begin() as connection:
        assert ensure_shadow_table(connection, harness.spec) == 'scores."parcels_shadow"'
    add_columns()
    with harness.engine.begin() as connection:
        table = ensure_shadow_table(connection, harness.spec)
        connection.execute(text(f"SELECT confidence, origin FROM {table}"))
    assert harness.read(COMMENTS.format("parcels_shadow")) == WITH_COMMENTS
