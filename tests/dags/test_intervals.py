"""Our partitions are Airflow's data intervals, whatever the schedule and the moment."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.records import Period
from include.schedule import last_partition, parse_partitions
from tests.dags.conftest import environment, reported, write_model

SCHEDULES = ("0 * * * *", "0 0 * * *", "0 0 * * 1", "0 6 * * *", "*/20 * * * *", "30 2 1 * *", "0 0 1,15 * *")
ZONES = ("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu")


def test_the_last_partition_and_the_next_one_are_airflow_s(tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311  # no secret
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [begin + timedelta(seconds=chance.randrange(3 * 365 * 86_400)) for _ in range(30)]
    moments += [begin, datetime(2024, 2, 29, tzinfo=UTC), datetime(2025, 3, 31, 2, tzinfo=UTC)]
    asked = [(schedule, "UTC", moment) for schedule in SCHEDULES for moment in moments]
    # Where the clock is put forward or back: at 1:00 UTC, at 2:00, at midnight, and by half an hour.
    changes = [datetime(2025, 3, 30, tzinfo=UTC), datetime(2025, 10, 26, tzinfo=UTC), datetime(2025, 3, 9, tzinfo=UTC)]
    changes += [datetime(2025, 11, 2, tzinfo=UTC), datetime(2018, 11, 4, tzinfo=UTC), datetime(2025, 4, 5, tzinfo=UTC)]
    near = [change + timedelta(minutes=15 * steps) for change in changes for steps in range(-8, 140, 3)]
    zoned = [(schedule, zone, moment) for schedule in (*SCHEDULES, "30 2 * * *") for zone in ZONES for moment in near]
    asked += chance.sample(zoned, 1400)  # as many as an argument of a process may hold
    words = json.dumps([(schedule, zone, moment.isoformat()) for schedule, zone, moment in asked])
    theirs = reported("intervals_of_airflow.py", words, env=environment(tmp_path, tmp_path))["intervals"]
    for (schedule, zone, moment), found in zip(asked, theirs, strict=True):
        case = (schedule, zone, moment)
        last_start, last_end, first_start, first_end = (datetime.fromisoformat(each) for each in found)
        last = last_partition(schedule, moment, timezone=zone)
        if last_start == last_end:  # Airflow's, where the clock leaves out a tick; a run of it is refused
            assert last.end <= moment, case
            continue
        assert last == Period(start=last_start, end=last_end), case
        first = parse_partitions(schedule, moment.isoformat(), first_end.isoformat(), timezone=zone)[0]
        assert first == Period(start=first_start, end=first_end), case


def test_a_run_scores_its_interval_or_what_the_form_names(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_model(models, "apple", more='score_timezone="Europe/Berlin",')
    found = reported("partitions_of_runs.py", env=environment(tmp_path, models))
    day = "2026-02-19 23:00 to 2026-02-20 23:00 UTC"
    assert found["partitions"] == {
        "scheduled": day,
        "manual": day,
        "manual, a day named": "2026-02-23 23:00 to 2026-02-24 23:00 UTC",
        "backfill, a day named": day,
        "manual, no interval": day,
        "manual, several days": "2026-02-19 23:00 to 2026-02-22 23:00 UTC",  # the step `validate` refuses it
        "manual, empty": "SluiceError: the run's data interval: expected an end after its start",
    }
