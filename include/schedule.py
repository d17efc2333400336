"""Score partitions as periods: each is one interval of the model's schedule, in UTC.

The intervals are equal to Airflow's data intervals. So a manual run, the command line and a backfill mean the same
partition as the scheduler; tests/dags/test_intervals.py compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta

from include.errors import SluiceError
from include.records import Period

MAX_PARTITIONS = 100_000
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNESCAPED_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)


def parse_partition(schedule: str | None, requested: str) -> Period:
    """Return the partition that `requested` names.

    Parameters
    ----------
    schedule : str or None
        Five cron fields, in UTC; None: whole days.
    requested : str
        A day, ``2026-01-31``: the first partition that begins on it; if none does, the one that contains its
        midnight. A time, ``2026-01-31T15:00`` (UTC if it has no offset): the partition that contains it.

    Raises
    ------
    SluiceError
        When it is neither a day nor a time, or its partition is not within the years 1 to 9999.
    """
    moment, whole_day = _read(requested)
    if not whole_day:
        return partition_containing(schedule, moment)
    with _within_calendar(requested):
        first = _on_or_after(schedule, moment)
        return first if first.start < moment + timedelta(days=1) else partition_containing(schedule, moment)


def parse_partitions(schedule: str | None, first: str, last: str) -> list[Period]:
    """Return the partitions that begin in the range: the same as in an Airflow backfill from `first` to `last`.

    A day counts as a whole. If no partition begins in the range, the one that contains its start is returned.

    Raises
    ------
    SluiceError
        When `last` lies before `first`, or a partition is not within the years 1 to 9999.
    """
    with _within_calendar(f"{first} to {last}"):
        return _partitions(schedule, first, last)


def _partitions(schedule: str | None, first: str, last: str) -> list[Period]:
    begin, _ = _read(first)
    moment, whole_day = _read(last)
    end = moment + (timedelta(days=1) if whole_day else timedelta(microseconds=1))
    if end <= begin:
        raise SluiceError(f"expected {first} or later as the end of the range; found {last}. Give the range in order.")
    found = []
    for period in _following(schedule, _on_or_after(schedule, begin)):
        if period.start >= end:
            break
        found.append(period)
        if len(found) > MAX_PARTITIONS:
            raise SluiceError(
                f"from {first} to {last}: expected at most {MAX_PARTITIONS:,} partitions; found more. "
                "Give a shorter range."
            )
    return found or [partition_containing(schedule, begin)]


def partition_containing(schedule: str | None, moment: datetime) -> Period:
    """Return the partition that `moment` lies in.

    Raises
    ------
    SluiceError
        When it is not within the years 1 to 9999.
    """
    with _within_calendar(f"{moment.isoformat()}"):
        if schedule is None:
            return Period.of_day(moment.astimezone(UTC).date())
        start = _aligned_back(schedule, moment)
        return Period(start=start, end=_next(schedule, start))


def last_partition(schedule: str | None, before: datetime) -> Period:
    """Return the last partition that ended at or before the time `before`.

    Raises
    ------
    SluiceError
        When it is not within the years 1 to 9999.
    """
    with _within_calendar(f"{before.isoformat()}"):
        if schedule is None:
            return Period.of_day(before.astimezone(UTC).date() - timedelta(days=1))
        end = _aligned_back(schedule, before)
        return Period(start=_previous(schedule, end), end=end)


def partition_key(period: Period) -> str:
    """Return the name of a partition in Airflow's asset events: its start in UTC, as Airflow's mappers read it."""
    return f"{period.start.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def parse_day(text: str) -> datetime:
    """Return the first moment of a day such as 2026-01-31, in UTC; ValueError for any other text."""
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """Parse a time such as 2026-01-31T12:00, in UTC if it has no offset.

    Raises
    ------
    ValueError
        When it is not a time in ISO 8601, or outside the calendar's range.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def parse_rfc3339(text: str) -> datetime:
    """Parse a time in RFC 3339 from the query of a URL. The offset is required; seconds are optional.

    A plus sign that was not escaped arrives as a space, and is accepted.

    Raises
    ------
    ValueError
        When it has another format.
    """
    text = _UNESCAPED_PLUS.sub("+", text)
    if not _RFC_3339.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper())


@contextmanager
def _within_calendar(requested: str) -> Iterator[None]:
    """Refuse a time whose partition would begin or end outside the years that a date can have."""
    try:
        yield
    except OverflowError:
        raise SluiceError(
            "partition: expected a time whose partition begins and ends within the years 1 to 9999; found "
            f"{requested}. Give a time of your data."
        ) from None


def _read(requested: str) -> tuple[datetime, bool]:
    with suppress(ValueError):
        return parse_day(requested), True
    try:
        return parse_moment(requested), False
    except ValueError:
        raise SluiceError(
            f"partition: expected a day, 2026-01-31, or a time, 2026-01-31T15:00 (UTC); found '{requested}'. "
            "Correct it."
        ) from None


def _on_or_after(schedule: str | None, moment: datetime) -> Period:
    if schedule is None:
        return Period.of_day(moment.date())
    start = _aligned_back(schedule, moment)
    if start < moment:
        start = _next(schedule, start)
    return Period(start=start, end=_next(schedule, start))


def _following(schedule: str | None, period: Period) -> Iterator[Period]:
    while True:
        yield period
        end = period.end + timedelta(days=1) if schedule is None else _next(schedule, period.end)
        period = Period(start=period.end, end=end)


def _aligned_back(schedule: str, moment: datetime) -> datetime:
    """Return the last tick of the schedule at or before `moment`."""
    before = _previous(schedule, moment)
    following = _next(schedule, before)
    return following if following <= moment else before


def _next(schedule: str, moment: datetime) -> datetime:
    return _tick(schedule, moment, forward=True)


def _previous(schedule: str, moment: datetime) -> datetime:
    return _tick(schedule, moment, forward=False)


def _tick(schedule: str, moment: datetime, *, forward: bool) -> datetime:
    from croniter import croniter  # the library that Airflow reads schedules with

    try:
        ticks = croniter(schedule, start_time=moment.astimezone(UTC).replace(tzinfo=None))
        found: datetime = ticks.get_next(datetime) if forward else ticks.get_prev(datetime)
    except (OverflowError, ValueError) as error:  # the declaration was checked: only a year can be out of range
        raise OverflowError(str(error)) from error
    return found.replace(tzinfo=UTC)
