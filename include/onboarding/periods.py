"""Window, schedule, contract and limits of the gates: from the rows' places in time, without a database."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Final

from include.onboarding.reading import at_midnight
from include.onboarding.records import Density, Schedule, Window

MIN_PART_ROWS: Final = 10
MAX_TRAIN: Final = timedelta(days=36_500)
OLD: Final = timedelta(days=30)
_UNITS: Final = tuple(timedelta(seconds=seconds) for seconds in (86_400, 3_600, 60, 1))
_ROUNDING: Final = 20
_HOURS_OF_A_DAY: Final = 24


def choose_window(density: Density) -> Window:
    """Return a window that holds all labelled rows, the last fifth of them in the holdout.

    It ends at a midnight, as `include.training.split_by_time` reads it. The lengths are whole days, or a shorter unit
    where the rows span few days.
    """
    end = at_midnight(density.newest)
    span = max(density.newest - density.oldest, timedelta(seconds=1))
    unit = next((unit for unit in _UNITS if unit * _ROUNDING <= span), _UNITS[-1])
    holdout = _up(end - density.border, unit)
    if end - holdout <= density.oldest:  # rounding must not take the oldest rows from the training
        holdout = _up(end - density.border, _UNITS[-1])
    if end - holdout <= density.oldest:
        holdout = end - density.border
    train = min(_up(end - holdout - density.oldest, unit), MAX_TRAIN)
    return Window(train=max(train, _UNITS[-1]), holdout=holdout, end=end)


def choose_schedule(density: Density, is_unique: Callable[[str], bool]) -> Schedule | None:
    """Return the shortest partitions that have rows nearly always; None if each would have a key twice.

    Parameters
    ----------
    is_unique : callable
        Says whether each key occurs once within each hour, day, week or month.
    """
    longest = None
    for unit, cron, words, part_of, rows, filled in _SCHEDULES:
        if not is_unique(unit):
            break
        counts: Counter[datetime] = Counter()
        for hour, count in density.rows_by_hour.items():
            counts[part_of(hour)] += count
        parts = _parts_between(min(counts), max(counts), unit)
        longest = Schedule(cron, words, min(counts.values()) if len(counts) >= parts else 0, max(counts.values()))
        is_dense = len(counts) >= filled * parts and median(counts.values()) >= rows
        if is_dense and (unit != "hour" or parts > _HOURS_OF_A_DAY):
            return longest
    return longest


def choose_freshness(density: Density) -> timedelta:
    """Return for how long there may be no new row: three times the longest gap so far, at least two days."""
    hours = sorted(density.rows_by_hour)
    gap = max((later - earlier for earlier, later in pairwise(hours)), default=timedelta(0))
    return _up(max(3 * gap, timedelta(days=2)), _UNITS[0])


def is_old(density: Density, now: datetime) -> bool:
    """Return whether the newest row is so old that a model of today has no rows."""
    return now - density.newest > OLD


def row_range(rows: int) -> tuple[int, int]:
    """Return the numbers of rows that a contract accepts around `rows`: about half to double, rounded."""
    return _rounded(rows / 2, math.floor), max(_rounded(rows * 2, math.ceil), 1)


def max_partition_rows(rows: int) -> int:
    """Return the largest number of rows of a partition that a contract accepts, if the largest so far has `rows`."""
    return max(_rounded(rows * 3, math.ceil), 10)


def baseline_margin(holdout: int, *, linear: bool) -> float | None:
    """Return how much worse than the baseline a model may look on few rows; None: not at all."""
    if holdout >= 2000 and not linear:
        return None
    return round(max(0.02, 1.5 / math.sqrt(max(holdout, 1))), 2)


def calibration_limit(holdout: int, measured: float | None = None) -> float:
    """Return a limit of the calibration error that a calibrated model meets in spite of chance.

    In 15 bins of equally many rows the mean gap of a calibrated model is about 0.8 standard errors of a share:
    0.8 * 0.5 / sqrt(rows / 15). Half as much again is allowed, or that much beside what was measured on training rows.
    """
    chance = 0.8 * 0.5 * math.sqrt(15 / max(holdout, 1))
    return min(0.9, math.ceil(100 * max(0.05, 1.5 * chance, (measured or 0.0) + chance)) / 100)


def _rounded(value: float, how: Callable[[float], int]) -> int:
    """Return `value` with two significant digits."""
    if value < 10:
        return int(how(value))
    step = 10 ** (math.floor(math.log10(value)) - 1)
    return int(how(value / step)) * int(step)


def _up(length: timedelta, unit: timedelta) -> timedelta:
    return unit * math.ceil(length / unit)


def _hour(moment: datetime) -> datetime:
    return moment


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0)


def _week(moment: datetime) -> datetime:
    return _day(moment) - timedelta(days=moment.weekday())


def _month(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


def _parts_between(first: datetime, last: datetime, unit: str) -> int:
    if unit == "month":
        return (last.year - first.year) * 12 + last.month - first.month + 1
    length = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[unit]
    return (last - first) // length + 1


# Unit, cron, words, the start of the partition of an hour, the rows that half of the partitions must have, and the
# share of them that must have any.
_SCHEDULES: Final = (
    ("hour", "0 * * * *", "each partition is one hour (UTC)", _hour, 100, 0.95),
    ("day", "0 0 * * *", "each partition is one UTC day", _day, 1, 0.8),
    ("week", "0 0 * * 1", "each partition is one week, from Monday (UTC)", _week, 1, 0.8),
    ("month", "0 0 1 * *", "each partition is one month (UTC)", _month, 1, 0.0),
)
