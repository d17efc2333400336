"""Run in a process of its own: prints, as JSON, the data intervals that Airflow gives schedules at moments."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance


def main(asked: list[tuple[str, str, str]]) -> None:
    found = []
    for schedule, zone, moment in asked:
        timetable, at = CronDataIntervalTimetable(schedule, timezone=zone), instance(datetime.fromisoformat(moment))
        last = timetable.infer_manual_data_interval(run_after=at)
        following = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(earliest=at, latest=None, catchup=True)
        )
        first = following.data_interval if following else last
        found.append([each.isoformat() for each in (last.start, last.end, first.start, first.end)])
    sys.stdout.write("\nREPORT " + json.dumps({"intervals": found}) + "\n")


main(json.loads(sys.argv[1]))
