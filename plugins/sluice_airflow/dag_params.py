"""The parameters of a manual run, or of a backfill, in the Airflow UI and API."""

from __future__ import annotations

from airflow.sdk import Param

from include.reasons import MIN_CHARACTERS

RETRAIN = {
    "allow_older": Param(
        None,
        type=["null", "string"],
        minLength=MIN_CHARACTERS,
        maxLength=500,
        title="Why older data may replace the champion's",
        description="A candidate whose data end before those of the champion is promoted only with a reason here, which "
        "the ledger keeps permanently.",
    ),
    "again": Param(
        False,
        type="boolean",
        title="Train again",
        description="Train even if a version of the same rows, declaration, code and libraries is registered.",
    ),
}
"""The form of ``retrain_<model>``."""

SCORE = {
    "partition": Param(
        None,
        type=["null", "string"],
        title="Partition",
        description="The partition to score: a day of the model's time zone such as 2026-01-31 or, for schedules of "
        "less than a day, a time such as 2026-01-31T15:00 (UTC). Default: the last complete partition. Only for manual "
        "runs: scheduled and backfilled runs score their own interval.",
    ),
    "model_version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="The version that scores. Default: the present champion in a manual run, the champion at the end "
        "of the partition in a scheduled or backfilled run.",
    ),
    "shards": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=64,
        title="Shards",
        description="Number of shards, each scored by one task. Default: chosen by the number of rows.",
    ),
}
"""The form of ``score_<model>``."""
