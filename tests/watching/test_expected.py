"""Which partitions are expected, and until when: each once, none left out, by the clock of the time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.schedule import is_partition, partition_containing
from include.spec import Freshness, ScoreStart
from include.watching.expected import MAX_EXPECTED, deadline_of, expected_partitions, watched_since
from tests.watching.states import DAY, HOUR, MINUTE, declared

BERLIN, AUCKLAND = "Europe/Berlin", "Pacific/Auckland"
SCHEDULES = st.sampled_from(["0 * * * *", "0 0 * * *", "30 2 * * *", "0 0 * * 1", "0 6 1,15 * *", "*/20 * * * *"])
ZONES = st.sampled_from(["UTC", BERLIN, AUCKLAND, "America/New_York", "Asia/Kolkata"])
SCORES_BY = st.sampled_from([None, "06:00", "02:30", timedelta(minutes=45), timedelta(hours=3)])
# Days around the changes of clocks in 2026 among them.
MOMENTS = st.integers(0, 400 * 86_400).map(lambda each: datetime(2025, 11, 1, tzinfo=UTC) + timedelta(seconds=each))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


@settings(max_examples=25)  # 400 ticks take a tenth of a second
@given(SCHEDULES, ZONES, SCORES_BY, MOMENTS, st.integers(0, 500))
def test_each_complete_partition_is_expected_once_and_none_is_left_out(
    schedule: str, zone: str, scores_by: str | timedelta | None, now: datetime, hours: int
) -> None:
    spec = declared(score_schedule=schedule, score_timezone=zone, freshness=Freshness(scores_by=scores_by))
    first = now - timedelta(hours=hours)
    expected = expected_partitions(spec, first, now)
    assert all(before.end == after.start for before, after in pairwise(expected)), "neither a gap nor an overlap"
    assert all(is_partition(schedule, each.period, timezone=zone) for each in expected)
    assert all(each.end > first and each.end <= now for each in expected)
    assert len(expected) <= MAX_EXPECTED
    everything = expected_partitions(spec, now - 9000 * DAY, now)
    assert len(everything) == MAX_EXPECTED
    assert expected == tuple(each for each in everything if each.end > first)
    assert partition_containing(schedule, everything[-1].end, timezone=zone).end > now, "the next one is not over yet"


@settings(max_examples=25)  # 400 ticks take a tenth of a second
@given(SCHEDULES, ZONES, SCORES_BY, MOMENTS)
def test_a_deadline_comes_after_the_end_and_not_much_later(
    schedule: str, zone: str, scores_by: str | timedelta | None, now: datetime
) -> None:
    spec = declared(score_schedule=schedule, score_timezone=zone, freshness=Freshness(scores_by=scores_by))
    for each in expected_partitions(spec, now - 10 * DAY, now):
        assert each.deadline == deadline_of(spec, each.period)
        assert each.end <= each.deadline <= each.end + 25 * HOUR
        if isinstance(scores_by, str):
            assert each.end < each.deadline


@settings(max_examples=25)  # 400 ticks take a tenth of a second
@given(SCHEDULES, MOMENTS, st.integers(1, 30))
def test_what_is_expected_does_not_change_as_time_goes_on(schedule: str, now: datetime, days: int) -> None:
    spec = declared(score_schedule=schedule)
    before = expected_partitions(spec, now - 3 * DAY, now)
    after = expected_partitions(spec, now - 3 * DAY, now + timedelta(days=days))
    common = [each for each in after if each.end <= now]
    assert list(before)[-len(common) :] == common if common else True


def test_scores_by_is_the_next_such_time_after_the_end_by_the_clock() -> None:
    spec = declared(score_timezone=BERLIN, freshness=Freshness(scores_by="06:00"))
    winter, summer = expected_partitions(spec, at("2026-03-28T00:00"), at("2026-03-29T23:00"))
    # On 29 March the clock leaves out an hour: midnight to 06:00 are five hours.
    assert (winter.end, winter.deadline) == (at("2026-03-28T23:00"), at("2026-03-29T04:00"))
    assert winter.deadline - winter.end == 5 * HOUR
    assert (summer.end, summer.deadline) == (at("2026-03-29T22:00"), at("2026-03-30T04:00"))
    assert summer.end - summer.start == 23 * HOUR


def test_an_hour_that_comes_twice_is_two_partitions() -> None:
    spec = declared(score_schedule="0 * * * *", score_timezone=BERLIN)
    expected = expected_partitions(spec, at("2026-10-24T22:00"), at("2026-10-25T23:00"))
    assert len(expected) == 25
    assert {each.end - each.start for each in expected} == {HOUR}


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({"score_schedule": "0 * * * *"}, 30 * MINUTE),
        ({"score_schedule": "*/10 * * * *"}, 30 * MINUTE),
        ({"score_schedule": "0 */4 * * *"}, 2 * HOUR),
        ({"score_schedule": "0 0 * * *"}, 6 * HOUR),
        ({"score_schedule": "0 0 * * 1"}, 6 * HOUR),
        ({"score_start": ScoreStart(delay=2 * HOUR)}, 8 * HOUR),
        ({"score_start": ScoreStart(contract_holds=True, deadline=5 * HOUR)}, 11 * HOUR),
        ({"freshness": Freshness(scores_by=45 * MINUTE)}, 45 * MINUTE),
    ],
)
def test_the_default_is_half_the_partition_within_bounds_after_the_latest_start(
    fields: dict[str, object], after: timedelta
) -> None:
    spec = declared(**fields)
    each = expected_partitions(spec, at("2026-01-01T00:00"), at("2026-02-01T00:00"))[-1]
    assert each.deadline - each.end == after


def test_a_model_without_a_schedule_expects_nothing() -> None:
    spec = declared(score_schedule=None)
    assert expected_partitions(spec, at("2020-01-01T00:00"), at("2026-01-01T00:00")) == ()
    assert watched_since(spec, at("2026-01-01T00:00")) is None


def test_400_partitions_are_watched() -> None:
    spec, now = declared(), at("2026-03-10T12:00")
    since = watched_since(spec, now)
    assert since == at("2026-03-10T00:00") - MAX_EXPECTED * DAY
    assert expected_partitions(spec, at("2000-01-01T00:00"), now)[0].start == since
