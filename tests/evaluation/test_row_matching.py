"""The same rows for candidate and champion, though two queries give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.evaluation import match_rows
from include.spec import EntityKey, FeatureQuery

START = datetime(2026, 1, 1, tzinfo=UTC)


def query(key: str = "id", time: str = "at") -> FeatureQuery:
    return FeatureQuery("m", "SELECT 1", EntityKey(column=key, type="bigint"), time, ())


def table(pairs: list[tuple[int, int]], key: str = "id", time: str = "at") -> pa.Table:
    keys, hours = zip(*pairs, strict=True) if pairs else ((), ())
    times = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC"))
    return pa.table({key: pa.array(keys, pa.int64()), time: times, "hour": pa.array(hours, pa.int64())})


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique=True, min_size=1, max_size=60)


@given(PAIRS, PAIRS, st.randoms(use_true_random=False))
def test_each_row_is_found_by_key_and_time_in_the_order_of_the_holdout(ours, theirs, random) -> None:
    random.shuffle(theirs)
    found = match_rows(table(ours), query(), table(theirs, "key", "moment"), query("key", "moment"))
    common = [pair for pair in ours if pair in theirs]
    assert found.kept.tolist() == [pair in theirs for pair in ours]
    assert list(zip(found.rows["key"].to_pylist(), found.rows["hour"].to_pylist(), strict=True)) == common
    assert found.left_out == len(ours) - len(common)
    assert (found.obstacle is None) == (found.left_out <= 0.01 * len(ours))


@pytest.mark.parametrize(("missing", "comparable"), [(0, True), (2, True), (3, False), (200, False)])
def test_at_most_one_row_in_a_hundred_may_be_missing(missing: int, comparable: bool) -> None:
    pairs = [(n, 0) for n in range(200)]
    found = match_rows(table(pairs), query(), table(pairs[missing:]), query())
    assert (found.obstacle is None) == comparable
    if not comparable:
        assert f"gives only {200 - missing:,} of the holdout's 200 rows" in str(found.obstacle)


def test_rows_of_the_other_query_alone_are_ignored_and_the_same_row_twice_is_an_obstacle() -> None:
    pairs = [(n, 0) for n in range(5)]
    more = match_rows(table(pairs), query(), table([*pairs, (7, 0), (1, 3)]), query())
    assert (more.obstacle, more.left_out, more.rows.num_rows) == (None, 0, 5)
    twice = match_rows(table(pairs), query(), table([*pairs, pairs[0]]), query())
    assert twice.obstacle == "its own features.sql gives rows of the holdout twice: the same entity key and event time"


def test_keys_may_be_texts_and_a_row_without_a_key_is_never_the_same() -> None:
    named = FeatureQuery("m", "SELECT 1", EntityKey(column="id"), "at", ())
    times = pa.array([START] * 3, pa.timestamp("us", "UTC"))
    rows = pa.table({"id": ["a", None, "é"], "at": times})
    assert match_rows(rows, named, rows, named).kept.tolist() == [True, False, True]
    assert np.asarray(match_rows(rows, named, rows, named).left_out) == 1
