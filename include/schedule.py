"""Score partitions as periods: each is one interval of the model's schedule, in its time zone.

A schedule of None means whole days. All periods are in UTC. The intervals are equal to Airflow's data intervals. So a
manual run, the command line and a backfill mean the same partition as the scheduler; tests/dags/test_intervals.py
compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from include.errors import SluiceError
from include.records import Period

NameMatch = Literal["whole", "start", "other"]

MAX_PARTITIONS = 100_000
UTC_NAME: Final = "UTC"
WHOLE_DAYS: Final = "0 0 * * *"
_ONE_MOMENT: Final = timedelta(microseconds=1)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNESCAPED_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)


def parse_partition(schedule: str | None, requested: str, *, timezone: str = UTC_NAME) -> Period:
    """Return the partition that `requested` names.

    Parameters
    ----------
    schedule : str or None
        Five cron fields; None: whole days.
    requested : str
        A day of `timezone`, ``2026-01-31``: the first partition that begins on it; if none does, the one that contains
        its midnight. A time, ``2026-01-31T15:00`` (UTC if it has no offset): the partition that contains it.
    timezone : str
        The time zone of the schedule.

    Raises
    ------
    SluiceError
        When it is neither a day nor a time, or its partition is not within the years 1 to 9999.
    """
    cron = _Cron.of(schedule, timezone)
    with _within_calendar(requested):
        begin, end = _read(requested, cron)
        if end is None:
            return cron.containing(begin)
        first = cron.on_or_after(begin)
        return first if first.start < end else cron.containing(begin)


def parse_partitions(schedule: str | None, first: str, last: str, *, timezone: str = UTC_NAME) -> list[Period]:
    """Return the partitions that begin in the range: the same as in an Airflow backfill from `first` to `last`.

    A day counts as a whole. If no partition begins in the range, the one that contains its start is returned.

    Raises
    ------
    SluiceError
        When `last` lies before `first`, or a partition is not within the years 1 to 9999.
    """
    with _within_calendar(f"{first} to {last}"):
        return _partitions(_Cron.of(schedule, timezone), first, last)


def _partitions(cron: _Cron, first: str, last: str) -> list[Period]:
    begin, _ = _read(first, cron)
    moment, next_day = _read(last, cron)
    end = next_day or moment + _ONE_MOMENT
    if end <= begin:
        raise SluiceError(f"expected {first} or later as the end of the range; found {last}. Give the range in order.")
    found = []
    for period in cron.following(cron.on_or_after(begin)):
        if period.start >= end:
            break
        found.append(period)
        if len(found) > MAX_PARTITIONS:
            raise SluiceError(
                f"from {first} to {last}: expected at most {MAX_PARTITIONS:,} partitions; found more. "
                "Give a shorter range."
            )
    return found or [cron.containing(begin)]


def partition_containing(schedule: str | None, moment: datetime, *, timezone: str = UTC_NAME) -> Period:
    """Return the partition that `moment` lies in.

    Raises
    ------
    SluiceError
        When it is not within the years 1 to 9999.
    """
    with _within_calendar(moment.isoformat()):
        return _Cron.of(schedule, timezone).containing(moment)


def last_partition(schedule: str | None, before: datetime, *, timezone: str = UTC_NAME) -> Period:
    """Return the last partition that ended at or before the time `before`.

    Raises
    ------
    SluiceError
        When it is not within the years 1 to 9999.
    """
    cron = _Cron.of(schedule, timezone)
    with _within_calendar(before.isoformat()):
        end = cron.aligned_back(before)
        return Period(start=cron.previous(end), end=end)


def last_partitions(schedule: str | None, before: datetime, count: int, *, timezone: str = UTC_NAME) -> list[Period]:
    """Return the last `count` partitions that ended at or before the time `before`, oldest first.

    Raises
    ------
    SluiceError
        When one is not within the years 1 to 9999.
    """
    cron = _Cron.of(schedule, timezone)
    with _within_calendar(before.isoformat()):
        ends = [cron.aligned_back(before)]
        while len(ends) <= count:
            ends.append(cron.previous(ends[-1]))
    ends.reverse()
    return [Period(start=start, end=end) for start, end in pairwise(ends)]


def next_clock_time(moment: datetime, clock_time: str, *, timezone: str = UTC_NAME) -> datetime:
    """Return the first time after `moment` at which the clock of the time zone shows `clock_time`, such as ``06:00``.

    Of a time that comes twice, the second; in place of a time that is left out, the one as much later.
    """
    cron = _Cron.of(None, timezone)
    hour, minute = map(int, clock_time.split(":"))
    day = moment.astimezone(cron.zone).date()
    while True:
        found = cron.at(datetime(day.year, day.month, day.day, hour, minute))  # noqa: DTZ001  # by the clock of the zone
        if found > moment:
            return found
        day += timedelta(days=1)


def local_day(moment: datetime, *, timezone: str = UTC_NAME) -> date:
    """Return the day on which `moment` lies by the clock of the time zone."""
    return moment.astimezone(_Cron.of(None, timezone).zone).date()


def later_by_clock(moment: datetime, duration: timedelta, *, timezone: str = UTC_NAME) -> datetime:
    """Return the time at which the clock of the time zone shows `duration` more than at `moment`.

    Six hours after midnight it is 06:00, also where the clock is changed in between. A time that the clock leaves out
    comes as much later.
    """
    zone = _Cron.of(None, timezone).zone
    before, real = moment.astimezone(zone), (moment.astimezone(UTC) + duration).astimezone(zone)
    changed = (before.utcoffset() or timedelta(0)) - (real.utcoffset() or timedelta(0))
    shown = (real.astimezone(UTC) + changed).astimezone(zone)
    return (shown if shown.utcoffset() == real.utcoffset() else real).astimezone(UTC)


def match_name(named: str, period: Period, schedule: str | None, *, timezone: str = UTC_NAME) -> NameMatch:
    """Return what the name of a source's partition, such as the key of an asset's event, says of `period`.

    Parameters
    ----------
    named : str
        A day of `timezone`, or a time; without an offset, by the clock of `timezone`.

    Returns
    -------
    {"whole", "start", "other"}
        Whether it names at least the whole period (the day of a day, or of an hour in it), only its start (the source's
        partition may be shorter), or something else.
    """
    cron = _Cron.of(schedule, timezone)
    try:
        begin, end = parse_range(named, timezone=timezone)
    except SluiceError:
        return "other"
    if end - begin > _ONE_MOMENT:
        if begin <= period.start and period.end <= end:
            return "whole"
        first = parse_partition(schedule, named, timezone=timezone)
        return "start" if first == period and begin <= first.start < end else "other"
    moment = datetime.fromisoformat(named)
    if moment.tzinfo is None:
        # The second of two equal times, as a partition begins at it.
        begin = cron.at(moment)
    return "start" if begin == period.start else "other"


def parse_range(requested: str, *, timezone: str = UTC_NAME) -> tuple[datetime, datetime]:
    """Return what `requested` names, as a half-open range: a day of `timezone`, or a time and the microsecond after it.

    Raises
    ------
    SluiceError
        When it is neither a day nor a time, or the end of the calendar.
    """
    with _within_calendar(requested):
        begin, end = _read(requested, _Cron.of(None, timezone))
        return begin, end or begin + _ONE_MOMENT


def is_partition(schedule: str | None, period: Period, *, timezone: str = UTC_NAME) -> bool:
    """Return whether `period` is one interval of the schedule."""
    return partition_containing(schedule, period.start, timezone=timezone) == period


def period_of_interval(start: datetime, end: datetime) -> Period:
    """Return the data interval of a run as a period.

    Raises
    ------
    SluiceError
        When it is empty, as an interval that a person gave may be.
    """
    if end <= start:
        raise SluiceError(
            f"the run's data interval: expected an end after its start; found {start.isoformat()} to "
            f"{end.isoformat()}. Leave the interval out, and name the partition in the form's field `partition`."
        )
    return Period(start=start.astimezone(UTC), end=end.astimezone(UTC))


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


def _read(requested: str, cron: _Cron) -> tuple[datetime, datetime | None]:
    """Return the time that was requested; of a day its start and its end, in the schedule's time zone."""
    with suppress(ValueError):
        day = date.fromisoformat(requested)
        return cron.midnight(day), cron.midnight(day + timedelta(days=1))
    try:
        return parse_moment(requested), None
    except ValueError:
        raise SluiceError(
            f"partition: expected a day, 2026-01-31, or a time, 2026-01-31T15:00 (UTC); found '{requested}'. "
            "Correct it."
        ) from None


class _Cron(NamedTuple):
    """A schedule in a time zone. Its ticks are those of Airflow's ``CronDataIntervalTimetable``."""

    expression: str
    zone: tzinfo

    @classmethod
    def of(cls, schedule: str | None, timezone: str) -> Self:
        # UTC needs no file of time zones.
        return cls(schedule or WHOLE_DAYS, UTC if timezone == UTC_NAME else ZoneInfo(timezone))

    def containing(self, moment: datetime) -> Period:
        start = self.aligned_back(moment)
        return Period(start=start, end=self.next(start))

    def on_or_after(self, moment: datetime) -> Period:
        start = self.aligned_back(moment)
        if start < moment:
            start = self.next(start)
        return Period(start=start, end=self.next(start))

    def following(self, period: Period) -> Iterator[Period]:
        while True:
            yield period
            period = Period(start=period.end, end=self.next(period.end))

    def aligned_back(self, moment: datetime) -> datetime:
        """Return the last tick of the schedule at or before `moment`."""
        before = self.previous(moment)
        following = self.next(before)
        return following if following <= moment else before

    def next(self, moment: datetime) -> datetime:
        return self._tick(moment, forward=True)

    def previous(self, moment: datetime) -> datetime:
        return self._tick(moment, forward=False)

    def midnight(self, day: date) -> datetime:
        return self.at(datetime(day.year, day.month, day.day))  # noqa: DTZ001  # by the clock of the zone

    def _tick(self, moment: datetime, *, forward: bool) -> datetime:
        from croniter import croniter  # the library that Airflow reads schedules with

        clock = moment.astimezone(self.zone).replace(tzinfo=None, fold=0)
        try:
            ticks = croniter(self.expression, start_time=clock)
            while True:
                found: datetime = ticks.get_next(datetime) if forward else ticks.get_prev(datetime)
                if ticks.expanded[1] == ["*"]:  # of every hour: where the clock is put back, the hour comes twice
                    return moment.astimezone(UTC) + (found - clock)
                tick = self.at(found)
                # A tick at a time that the clock leaves out comes later than the clock says.
                if tick > moment if forward else tick < moment:
                    return tick
        except ValueError as error:  # the declaration was checked: only a year can be out of range
            raise OverflowError(str(error)) from error

    def at(self, clock: datetime) -> datetime:
        """Return the time at which the zone's clock shows `clock`.

        Of a time that comes twice, the second; in place of a time that is left out, the one as much later.
        """
        later = clock.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        exists = later.astimezone(self.zone).replace(tzinfo=None, fold=0) == clock.replace(fold=0)
        return later if exists else clock.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
