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
        description="A candidate whose data end before those of the champion is promoted only with a reason here. "
        "The ledger keeps it permanently.",
    ),
    "again": Param(
        False,
        type="boolean",
        title="Train again",
        description="Train even if a version of the same rows, declaration, code and libraries is registered.",
    ),
}
"""The form of ``retrain_<model>``."""

MOVE, HOLD, LIFT = "move the champion", "hold promotions", "lift the hold"
"""The actions of ``operate_model``."""

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


def operate(names: list[str]) -> dict[str, Param]:
    """Return the form of ``operate_model`` for the models of these names."""
    return {
        "model": Param(
            type="string",
            enum=names or ["none_declared"],
            title="Model",
            description="The model whose champion to change.",
        ),
        "action": Param(
            MOVE,
            type="string",
            enum=[MOVE, HOLD, LIFT],
            title="Action",
            description="Promote a version or roll back to one; or let no retrain promote a version for a while.",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="The version to make champion. A hold needs none.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            title="Until",
            description="The end of the hold, such as 2026-01-31T12:00 (UTC). Default: when somebody lifts it.",
        ),
        "reason": Param(
            type="string",
            minLength=MIN_CHARACTERS,
            maxLength=500,
            title="Reason",
            description="The reason, in one sentence. The ledger keeps it permanently.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Although gates rejected it",
            description="Promote the version even if gates rejected it. "
            "A rollback to an earlier champion needs no force.",
        ),
    }
