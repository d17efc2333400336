"""Which partition a person means, and that partitions tile time whatever the schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SluiceError
from include.records import Period
from include.schedule import (
    is_partition,
    last_partition,
    parse_day,
    parse_moment,
    parse_partition,
    parse_partitions,
    parse_rfc3339,
    partition_containing,
    partition_key,
    period_of_interval,
)

HOURLY, DAILY, WEEKLY, MORNING = "0 * * * *", "0 0 * * *", "0 0 * * 1", "0 6 * * *"
SCHEDULES = st.sampled_from([None, HOURLY, DAILY, WEEKLY, MORNING, "*/20 * * * *", "30 2 1 * *", "0 0 1,15 * *"])
MOMENTS = st.integers(0, 17 * 365 * 86_400).map(lambda s: datetime(2013, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


def period(start: str, end: str) -> Period:
    return Period(start=datetime.fromisoformat(start + "+00:00"), end=datetime.fromisoformat(end + "+00:00"))


@pytest.mark.parametrize(
    ("schedule", "asked", "start", "end"),
    [
        (None, "2026-01-31", "2026-01-31T00:00", "2026-02-01T00:00"),
        (DAILY, "2026-01-31", "2026-01-31T00:00", "2026-02-01T00:00"),
        (DAILY, "2026-01-31T15:20", "2026-01-31T00:00", "2026-02-01T00:00"),
        (MORNING, "2026-01-31", "2026-01-31T06:00", "2026-02-01T06:00"),
        (HOURLY, "2026-01-31", "2026-01-31T00:00", "2026-01-31T01:00"),
        (HOURLY, "2026-01-31T15:20", "2026-01-31T15:00", "2026-01-31T16:00"),
        (HOURLY, "2026-01-31T15:20+02:00", "2026-01-31T13:00", "2026-01-31T14:00"),
        (WEEKLY, "2026-01-31", "2026-01-26T00:00", "2026-02-02T00:00"),
        (WEEKLY, "2026-01-26", "2026-01-26T00:00", "2026-02-02T00:00"),
    ],
)
def test_a_day_or_a_moment_names_a_partition(schedule: str | None, asked: str, start: str, end: str) -> None:
    assert parse_partition(schedule, asked) == period(start, end)


@pytest.mark.parametrize(
    ("schedule", "first", "last", "count"),
    [
        (DAILY, "2026-01-01", "2026-01-30", 30),
        (None, "2026-01-01", "2026-01-30", 30),
        (HOURLY, "2026-01-01", "2026-01-01", 24),
        (HOURLY, "2026-01-01T03:00", "2026-01-01T05:00", 3),
        (WEEKLY, "2026-01-05", "2026-01-26", 4),
        (WEEKLY, "2026-01-07", "2026-01-08", 1),
    ],
)
def test_a_range_means_what_an_airflow_backfill_of_it_means(
    schedule: str | None, first: str, last: str, count: int
) -> None:
    assert len(parse_partitions(schedule, first, last)) == count


def test_what_is_no_time_and_a_range_in_the_wrong_order_say_what_was_expected() -> None:
    with pytest.raises(SluiceError, match="expected a day, 2026-01-31, or a time"):
        parse_partition(DAILY, "yesterday")
    with pytest.raises(SluiceError, match="expected 2026-02-01 or later"):
        parse_partitions(DAILY, "2026-02-01", "2026-01-31")


@given(schedule=SCHEDULES, moment=MOMENTS)
def test_the_partition_of_a_moment_holds_it_and_its_neighbours_touch_it(schedule: str | None, moment: datetime) -> None:
    holding = partition_containing(schedule, moment)
    assert holding.start <= moment < holding.end
    assert partition_containing(schedule, holding.start) == holding
    assert partition_containing(schedule, holding.end).start == holding.end
    assert last_partition(schedule, holding.end) == holding
    assert last_partition(schedule, holding.end - timedelta(microseconds=1)).end == holding.start


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"]
)


@given(schedule=SCHEDULES, zone=ZONES, moment=MOMENTS)
def test_in_any_time_zone_partitions_leave_nothing_out_and_hold_nothing_twice(
    schedule: str | None, zone: str, moment: datetime
) -> None:
    holding = partition_containing(schedule, moment, timezone=zone)
    assert holding.start <= moment < holding.end
    following = partition_containing(schedule, holding.end, timezone=zone)
    assert following.start == holding.end
    assert last_partition(schedule, holding.end, timezone=zone) == holding
    assert partition_containing(schedule, holding.end - timedelta(microseconds=1), timezone=zone) == holding
    assert is_partition(schedule, holding, timezone=zone)
    assert not is_partition(schedule, Period(start=holding.start, end=following.end), timezone=zone)
    assert not is_partition(
        schedule, Period(start=holding.start, end=holding.end - timedelta(minutes=1)), timezone=zone
    )


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("2025-03-29", "2025-03-28T23:00", "2025-03-29T23:00"),
        ("2025-03-30", "2025-03-29T23:00", "2025-03-30T22:00"),  # of 23 hours
        ("2025-10-26", "2025-10-25T22:00", "2025-10-26T23:00"),  # of 25 hours
    ],
)
@pytest.mark.parametrize("schedule", [None, DAILY, "@daily"])
def test_a_day_is_one_of_the_calendar_of_its_time_zone(schedule: str | None, day: str, start: str, end: str) -> None:
    assert parse_partition(schedule, day, timezone="Europe/Berlin") == period(start, end)
    assert len(parse_partitions(schedule, "2025-03-29", "2025-03-31", timezone="Europe/Berlin")) == 3


def test_an_empty_interval_of_a_run_is_refused_with_what_to_do() -> None:
    day = period("2026-01-31T00:00", "2026-02-01T00:00")
    assert period_of_interval(day.start, day.end) == day
    for end in (day.start, day.start - timedelta(days=1)):
        with pytest.raises(SluiceError, match="expected an end after its start; found 2026-01-31"):
            period_of_interval(day.start, end)


@given(schedule=SCHEDULES, moment=MOMENTS)
def test_the_key_of_a_partition_tells_it_from_every_other_one(schedule: str | None, moment: datetime) -> None:
    holding = partition_containing(schedule, moment)
    assert datetime.fromisoformat(partition_key(holding) + "+00:00") == holding.start
    assert parse_partition(schedule, partition_key(holding)) == holding


# -- moments as text -------------------------------------------------------------------------------

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-31T12:00", "2026-01-31 12:00:00", "2026-01-31T13:00+01:00"])
def test_a_moment_is_in_utc_unless_it_says_otherwise(text: str) -> None:
    found = parse_moment(text)
    assert (found, found.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize("text", ["noon", "", "2026-02-30T12:00", "0001-01-01T00:00+23:59"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whoever asks says what was expected
        parse_moment(text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31t12:00z", "2026-01-31T13:00:00.0+01:00", "2026-01-31T13:00:00 01:00"],
)
def test_a_moment_in_a_query_has_its_offset(text: str) -> None:
    assert parse_rfc3339(text) == NOON


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00", "2026-01-31", "2026-02-30T12:00Z", "20260131T120000Z", "٢٠٢٦-01-31T12:00Z"]
)
def test_a_moment_in_a_query_without_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whoever asks says what was expected
        parse_rfc3339(text)


def test_a_day_begins_at_midnight_in_utc() -> None:
    assert parse_day("2026-01-31") == NOON - timedelta(hours=12)


@given(st.datetimes(timezones=st.just(UTC)), SCHEDULES)
def test_every_time_of_the_calendar_has_a_partition_or_is_refused_in_a_sentence(
    moment: datetime, schedule: str | None
) -> None:
    for find in (partition_containing, last_partition):
        try:
            found = find(schedule, moment)
        except SluiceError:
            assert moment.year in (1, 9999)
        else:
            assert found.start < found.end


@pytest.mark.parametrize("schedule", [None, DAILY, WEEKLY, "0 0 29 2 *"])
@pytest.mark.parametrize("requested", ["9999-12-31", "9999-12-31T23:59"])
def test_the_last_day_of_the_calendar_ends_in_no_partition(schedule: str | None, requested: str) -> None:
    with pytest.raises(SluiceError, match=f"within the years 1 to 9999; found {requested[:10]}"):
        parse_partition(schedule, requested)
    with pytest.raises(SluiceError, match="within the years 1 to 9999"):
        parse_partitions(schedule, requested, requested)


@pytest.mark.parametrize("requested", ["0001-01-01", "0001-01-01T00:00"])
def test_the_first_day_of_the_calendar_has_no_partition_before_it(requested: str) -> None:
    with pytest.raises(SluiceError, match="within the years 1 to 9999; found 0001-01-01"):
        parse_partition(WEEKLY, requested)
    with pytest.raises(SluiceError, match="within the years 1 to 9999"):
        last_partition(None, parse_moment(requested))
