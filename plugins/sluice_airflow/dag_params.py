"""What a person may ask of a run by hand, or of all runs of a backfill, in the Airflow UI or with its API."""

from __future__ import annotations

from airflow.sdk import Param

SCORE = {
    "partition": Param(
        None,
        type=["null", "string"],
        title="Partition",
        description="A day such as 2026-01-31, or for schedules of less than a day a moment such as 2026-01-31T15:00 "
        "(UTC); the partition that it names is scored. Empty: the last complete one. Only for runs by hand: scheduled "
        "and backfilled runs score their own interval.",
    ),
    "model_version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="The version that scores. Empty: the champion of now in a run by hand, the champion of when the "
        "partition ended in a scheduled or backfilled one.",
    ),
    "shards": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=64,
        title="Shards",
        description="In how many shards, each a task. Empty: as many as the rows ask for.",
    ),
}
"""The form of ``score_<model>``."""
