"""Which partitions a model should have published, and until when. Pure: the time is an argument."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from include.records import Period
from include.schedule import last_partition, last_partitions, later_by_clock, next_clock_time, partition_containing
from include.spec import ModelSpec
from include.spec.freshness import default_score_margin

MAX_EXPECTED: Final = 400
"""How many partitions back a model is watched."""


class ExpectedPartition(NamedTuple):
    """A partition that should be published, and its deadline. All times are in UTC."""

    start: datetime
    end: datetime
    deadline: datetime

    @property
    def period(self) -> Period:
        """The partition."""
        return Period(start=self.start, end=self.end)


def expected_partitions(
    spec: ModelSpec, first: datetime, now: datetime, *, limit: int = MAX_EXPECTED
) -> tuple[ExpectedPartition, ...]:
    """Return the partitions of the model's schedule that are complete, each once, oldest first.

    Parameters
    ----------
    spec : ModelSpec
        Without a score schedule nothing is expected.
    first : datetime
        Since when scores are expected: of the partitions that ended by `now`, those that end after this moment.
    now : datetime
    limit : int
        Only the last so many partitions are looked at, at most `MAX_EXPECTED`.

    Returns
    -------
    tuple of ExpectedPartition
        One is late when `now` is after its deadline and it is not published.
    """
    if spec.score_schedule is None:
        return ()
    expected = _partitions_until(spec, now)[-limit:]
    return expected[bisect_left(expected, True, key=lambda each: each.end > first) :]


def watched_since(spec: ModelSpec, now: datetime) -> datetime | None:
    """Return the start of the oldest partition that is watched at `now`; None for a model without a score schedule."""
    return None if spec.score_schedule is None else _partitions_until(spec, now)[0].start


def deadline_of(spec: ModelSpec, period: Period) -> datetime:
    """Return until when a partition must be published, see `Freshness.scores_by`."""
    return _deadline(period, spec.score_timezone, spec.freshness.scores_by, spec.score_start.longest)


_MAX_KNOWN: Final = 128
_MAX_STEPS: Final = 50
_KNOWN: Final[dict[tuple[str, str], tuple[Period, ...]]] = {}
"""The partitions of each schedule and time zone, as the last look needed them. It changes no result."""


def _partitions_until(spec: ModelSpec, now: datetime) -> tuple[ExpectedPartition, ...]:
    assert spec.score_schedule is not None  # noqa: S101  # the callers have checked it
    # A schedule ticks at whole minutes, so the last partition is the same all minute.
    last = _last_end(spec.score_schedule, spec.score_timezone, now.replace(second=0, microsecond=0))
    return _partitions(
        spec.score_schedule, spec.score_timezone, spec.freshness.scores_by, spec.score_start.longest, last
    )


@lru_cache(maxsize=256)
def _last_end(schedule: str, timezone: str, minute: datetime) -> datetime:
    return last_partition(schedule, minute, timezone=timezone).end


# 400 ticks take 0.1 s, and the watcher looks every ten seconds at all models. An entry has some 100 kB.
@lru_cache(maxsize=128)
def _partitions(
    schedule: str, timezone: str, scores_by: timedelta | str | None, longest: timedelta, last_end: datetime
) -> tuple[ExpectedPartition, ...]:
    periods = _periods(schedule, timezone, last_end)
    return tuple(
        ExpectedPartition(each.start, each.end, _deadline(each, timezone, scores_by, longest)) for each in periods
    )


def _periods(schedule: str, timezone: str, last_end: datetime) -> tuple[Period, ...]:
    """Return the last partitions until `last_end`: those that an earlier look has found, and the ones since."""
    known = _KNOWN.get((schedule, timezone), ())
    if not known or not known[-1].end <= last_end <= known[_MAX_STEPS].end + (known[-1].end - known[0].start):
        known = tuple(last_partitions(schedule, last_end, MAX_EXPECTED, timezone=timezone))
    while known[-1].end < last_end:
        known = (*known[1:], partition_containing(schedule, known[-1].end, timezone=timezone))
    if len(_KNOWN) >= _MAX_KNOWN:
        _KNOWN.clear()
    _KNOWN[schedule, timezone] = known
    return known


def _deadline(period: Period, timezone: str, scores_by: timedelta | str | None, longest: timedelta) -> datetime:
    if isinstance(scores_by, str):
        return next_clock_time(period.end, scores_by, timezone=timezone)
    after = longest + default_score_margin(period.end - period.start) if scores_by is None else scores_by
    # Where the clock leaves out an hour, a time by the clock may come before the end.
    return max(period.end, later_by_clock(period.end, after, timezone=timezone))
