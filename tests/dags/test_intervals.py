"""Our partitions are Airflow's data intervals, whatever the schedule and the moment."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.records import Period
from include.schedule import last_partition, parse_partitions
from tests.dags.conftest import environment, reported

SCHEDULES = ("0 * * * *", "0 0 * * *", "0 0 * * 1", "0 6 * * *", "*/20 * * * *", "30 2 1 * *", "0 0 1,15 * *")


def test_the_last_partition_and_the_next_one_are_airflow_s(tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311  # no secret
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [begin + timedelta(seconds=chance.randrange(3 * 365 * 86_400)) for _ in range(30)]
    moments += [begin, datetime(2024, 2, 29, tzinfo=UTC), datetime(2025, 3, 31, 2, tzinfo=UTC)]
    asked = [(schedule, moment) for schedule in SCHEDULES for moment in moments]
    words = json.dumps([(schedule, moment.isoformat()) for schedule, moment in asked])
    theirs = reported("intervals_of_airflow.py", words, env=environment(tmp_path, tmp_path))["intervals"]
    for (schedule, moment), found in zip(asked, theirs, strict=True):
        last_start, last_end, first_start, first_end = (datetime.fromisoformat(each) for each in found)
        assert last_partition(schedule, moment) == Period(start=last_start, end=last_end), (schedule, moment)
        first = parse_partitions(schedule, moment.isoformat(), first_end.isoformat())[0]
        assert first == Period(start=first_start, end=first_end), (schedule, moment)
