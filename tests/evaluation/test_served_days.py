"""The days of the holdout that are read again as scoring reads them: the newest that have rows, and enough of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from include.records import Period
from include.resources import Resources
from include.steps.evaluate import SERVED_AGAIN_DAYS, SERVED_AGAIN_ROWS, last_days
from tests.builders import QUERY, ROWS_A_DAY, SPEC, TODAY, declare_model, load_parcels, retrain

DAY = timedelta(days=1)
END = TODAY.replace(hour=0)
GATES = SPEC.replace("    gates=(\n", "    gates=(\n        TrainingServingSkew(),\n").replace(
    "freshness=timedelta(days=2)", "freshness=timedelta(days=9)"
)


@pytest.mark.parametrize("empty", [1, 2, 5])
def test_days_without_rows_at_the_end_of_the_holdout_are_passed_over(
    resources: Resources, tmp_path: Path, empty: int
) -> None:
    load_parcels(resources.engine)
    with resources.engine.begin() as connection:
        connection.execute(text("DELETE FROM source.parcels WHERE sent_at >= :since"), {"since": END - empty * DAY})
    version = retrain(declare_model(tmp_path, spec=GATES), "run", resources)
    checks = version.evaluation.data
    assert checks is not None
    assert (checks.served_differences, checks.served_note, checks.served_rows) == (
        {},
        None,
        min(7, 10 - empty) * ROWS_A_DAY,
    )
    (skew,) = (each for each in version.decision.gates if each.gate == "training_serving_skew")
    assert skew.passed, skew.sentence


def test_a_feature_that_depends_on_the_period_is_found_behind_an_empty_day(
    resources: Resources, tmp_path: Path
) -> None:
    load_parcels(resources.engine)
    with resources.engine.begin() as connection:
        connection.execute(text("DELETE FROM source.parcels WHERE sent_at >= :since"), {"since": END - DAY})
    relative = QUERY.replace("weight,", "extract(day FROM sent_at - :period_start)::float8 AS weight,")
    version = retrain(declare_model(tmp_path, spec=GATES, query=relative), "run", resources)
    (skew,) = (each for each in version.decision.gates if each.gate == "training_serving_skew")
    assert not skew.passed
    assert "difference between training and serving of weight" in skew.sentence


@given(
    hours=st.lists(st.floats(0, 24 * 30, exclude_max=True), min_size=1, max_size=60),
    copies=st.sampled_from([1, 20, 150]),
    length=st.integers(1, 30),
)
def test_the_days_are_the_newest_with_rows_within_the_holdout(hours: list[float], copies: int, length: int) -> None:
    holdout = Period(start=END - length * DAY, end=END)
    ago = np.repeat([hour for hour in hours if hour < 24 * length] or [0.5], copies)
    moments = [END - timedelta(hours=float(each)) - timedelta(microseconds=1) for each in ago]
    days = last_days(holdout, pa.chunked_array([pa.array(moments, pa.timestamp("us", "UTC"))]))
    rows = [sum(day.start <= moment < day.end for moment in moments) for day in days]
    assert 1 <= len(days) <= SERVED_AGAIN_DAYS
    assert all(rows)
    assert all(holdout.start <= day.start < day.end <= holdout.end for day in days)
    assert [day.end for day in days] == sorted((day.end for day in days), reverse=True)
    assert sum(moment >= days[-1].start for moment in moments) == sum(rows), "no day with rows is left out between them"
    assert sum(rows) >= SERVED_AGAIN_ROWS or len(days) == SERVED_AGAIN_DAYS or sum(rows) == len(moments)
    assert sum(rows[:-1]) < SERVED_AGAIN_ROWS, "no more than needed"
