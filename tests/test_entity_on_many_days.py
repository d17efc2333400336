"""An entity that occurs on many days: 40 customers, scored each night, are one row a customer and day to train on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include import pipeline
from include.errors import ValidationFailedError
from include.records import Period
from include.resources import Resources
from include.schedule import parse_partition
from include.spec import ModelSpec
from tests.builders import QUERY, ROWS_A_DAY, SPEC, TODAY, declare_model, load_parcels, retrain

DAYS = [Period.of_day(date(2026, 2, day)) for day in (20, 21)]


@pytest.fixture
def spec(engine: Engine, tmp_path: Path) -> ModelSpec:
    load_parcels(engine)
    number = f"(row_number() OVER (PARTITION BY sent_at::date ORDER BY sent_at) - 1) % {ROWS_A_DAY}"
    return declare_model(tmp_path, query=QUERY.replace("parcel_id,", f"'customer ' || {number} AS parcel_id,"))


def test_it_is_trained_on_scored_each_day_and_looked_up_by_its_newest_day(
    spec: ModelSpec, resources: Resources, engine: Engine
) -> None:
    version = retrain(spec, "run", resources)
    assert version.decision.accepted
    checks = version.evaluation.data
    assert checks is not None
    assert (checks.served_differences, checks.served_note, checks.served_rows) == ({}, None, 7 * ROWS_A_DAY)
    pipeline.promote_candidate(spec, version, "somebody", resources)
    for day in DAYS:
        assert pipeline.score(spec, "run", day, resources).row_count == ROWS_A_DAY
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM scores.parcels")) == 2 * ROWS_A_DAY
        latest = connection.execute(text("SELECT count(*), min(partition_start) FROM scores.parcels_latest")).one()
    assert tuple(latest) == (ROWS_A_DAY, DAYS[1].start)


def test_the_order_of_the_snapshot_is_total_so_its_digest_is_the_same_each_time(
    spec: ModelSpec, resources: Resources
) -> None:
    assert len({pipeline.take_snapshot(spec, TODAY, resources).digest for _ in range(2)}) == 1


def test_a_partition_still_has_each_entity_once(spec: ModelSpec, resources: Resources, tmp_path: Path) -> None:
    weekly = SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * 1"')
    query = (spec.folder / "features.sql").read_text()
    week = parse_partition("0 0 * * 1", "2026-02-20")
    pipeline.promote_candidate(spec, retrain(spec, "run", resources), "somebody", resources)
    with pytest.raises(ValidationFailedError, match=rf"each key once; found {7 * ROWS_A_DAY} of {7 * ROWS_A_DAY} rows"):
        pipeline.validate_partition(declare_model(tmp_path, spec=weekly, query=query), "run", week, resources)
