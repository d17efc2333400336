"""How old what a model gives may be: the deadlines that the watcher checks, as `Freshness`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final

from pydantic import BeforeValidator, PositiveInt

from include.spec.base import PositiveDuration, SpecModel

MIN_SCORE_MARGIN: Final = timedelta(minutes=30)
MAX_SCORE_MARGIN: Final = timedelta(hours=6)
RETRAIN_PERIODS: Final = 3
APPROVAL_WITHIN: Final = timedelta(hours=24)
_LONGEST_SCORES_BY: Final = timedelta(days=31)
_CLOCK_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_SAMPLED_TICKS: Final = 100
_SAMPLE_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


def _time_or_duration(value: object) -> object:
    if isinstance(value, str) and _CLOCK_TIME.fullmatch(value):
        return value
    if isinstance(value, timedelta) and timedelta(0) < value <= _LONGEST_SCORES_BY:
        return value
    raise ValueError(
        "expected a time by the clock of score_timezone, such as '06:00', or a duration after the end of the "
        f"partition of at most {_LONGEST_SCORES_BY.days} days, such as timedelta(hours=2); found {value!r}"
    )


ScoresBy = Annotated[timedelta | str, BeforeValidator(_time_or_duration)]


class Freshness(SpecModel):
    """Deadlines: how late scores, champion, labels and approvals may be. The watcher reports what is later.

    Nothing waits for a deadline, and nothing is stopped by one. Each default follows from the rest of the declaration.

    Parameters
    ----------
    scores_by : str, timedelta or None
        When a partition must be published. A time, ``"06:00"``: the first such time by the clock of `score_timezone`
        after the end of the partition. A duration: so long after its end, by the same clock. None: half the length of
        the partition, but at least 30 minutes and at most six hours, after the latest start that `ScoreStart` allows.
    champion_max_age : timedelta or None
        Maximum age of the end of the data that the champion was trained and evaluated on. None: three times the longest
        interval of `retrain_schedule`, and a day and the `label_delay` more; without a schedule there is no maximum.
    labels_by : timedelta or None
        How long after the event time at least some rows must have a label. None: labels are not checked.
    approval_within : timedelta or None
        How long a version may wait for an approval. None: 24 hours, or half of the approval's `timeout` if that is
        shorter.
    rejected_in_a_row : int
        After how many candidates in a row that the gates rejected somebody should look.
    """

    scores_by: ScoresBy | None = None
    champion_max_age: PositiveDuration | None = None
    labels_by: PositiveDuration | None = None
    approval_within: PositiveDuration | None = None
    rejected_in_a_row: PositiveInt = 3


def default_score_margin(partition: timedelta) -> timedelta:
    """Return how long after the latest start of its run a partition of this length must be published by default."""
    return min(max(partition / 2, MIN_SCORE_MARGIN), MAX_SCORE_MARGIN)


@lru_cache(maxsize=128)  # 100 ticks take 20 ms, and the watcher asks every ten seconds
def longest_interval(cron: str) -> timedelta:
    """Return the longest time between two ticks of a schedule, of the first 100 from the year 2000 on."""
    from croniter import croniter  # Airflow's library; imported only when needed

    ticks = croniter(cron, _SAMPLE_START)
    found: list[datetime] = [ticks.get_next(datetime) for _ in range(_SAMPLED_TICKS)]
    return max(after - before for before, after in pairwise(found))


def default_champion_max_age(retrain_schedule: str, label_delay: timedelta) -> timedelta:
    """Return the maximum age of a champion's data by default.

    The data end at the last midnight with known labels: even those of a new champion are `label_delay` and up to a day
    old.
    """
    return RETRAIN_PERIODS * longest_interval(retrain_schedule) + label_delay + _DAY


def earliest_margin(cron: str, clock_time: str) -> timedelta:
    """Return the shortest time from a tick of the schedule to the next `clock_time`, of the first 100 ticks."""
    from croniter import croniter

    hour, minute = map(int, clock_time.split(":"))
    ticks, found = croniter(cron, _SAMPLE_START), _DAY
    for _ in range(_SAMPLED_TICKS):
        tick = ticks.get_next(datetime)
        due = tick.replace(hour=hour, minute=minute)
        found = min(found, (due if due > tick else due + _DAY) - tick)
    return found
