"""Run in a process of its own: runs DAGs with `dag.test()` and prints, as JSON, what came of each run."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils import db
from airflow.utils.session import create_session
from sqlalchemy import create_engine, select, text

from include.settings import load_settings

FIRST_OF_MARCH = datetime(2026, 3, 1, 5, tzinfo=UTC)


def run(dag: DAG, at: datetime, **conf: Any) -> dict[str, Any]:
    # Airflow makes the run's id from `run_after`: the same moment again is the same run again.
    # After a failure, `dag.test()` alone stumbles over parameters without a default; a scheduler does not.
    with suppress(ParamValidationError):
        dag.test(logical_date=at, run_after=at, run_conf=conf or None)
    with create_session() as session:
        finished = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.logical_date == at)).one()
        tasks = {each.task_id: each for each in finished.get_task_instances(session=session)}
        events = session.execute(
            select(AssetModel.uri, AssetEvent.extra, AssetEvent.partition_key)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_dag_id == dag.dag_id, AssetEvent.source_run_id == finished.run_id)
        ).all()
        links = session.execute(
            select(XComModel.task_id, XComModel.value).where(
                XComModel.dag_id == dag.dag_id,
                XComModel.run_id == finished.run_id,
                XComModel.key.startswith("_link_", autoescape=True),
            )
        ).all()
        return {
            "run_id": finished.run_id,
            "state": str(finished.state),
            "tasks": {task_id: str(each.state) for task_id, each in tasks.items()},
            "tries": {task_id: each.try_number for task_id, each in tasks.items()},
            "events": [{"uri": uri, **(extra or {})} for uri, extra, _ in events],
            "links": dict(tuple(each) for each in links),
            "keys": [key for _, _, key in events],
        }


def life(dags: dict[str, DAG]) -> dict[str, Any]:
    """A model's life: trained, again in the same run, refused, scored, moved by hand, given a bad day."""
    at = FIRST_OF_MARCH
    lived = {
        "too early": run(dags["score_apple"], at.replace(hour=4)),
        "retrain": run(dags["retrain_apple"], at),
        "retrain again": run(dags["retrain_apple"], at),
        "nothing new": run(dags["retrain_apple"], at.replace(hour=6)),
        "rejected": run(dags["retrain_pear"], at),
        "score": run(dags["score_apple"], at),
        "score by hand": run(dags["score_apple"], at.replace(hour=6), partition="2026-02-25"),
        "unknown version": run(dags["operate_model"], at, model="apple", version=99, reason="there is no such version"),
        "by hand": run(
            dags["operate_model"],
            at.replace(hour=7),
            model="pear",
            version=1,
            reason="gates are wrong here",
            force=True,
        ),
    }
    why, hour = "the scores look strange", at.replace(hour=8)
    lived["hold"] = run(dags["operate_model"], hour, model="apple", action="hold promotions", reason=why)
    lived["held"] = run(dags["retrain_apple"], at.replace(hour=9), again=True)
    lived["lift"] = run(
        dags["operate_model"], at.replace(hour=9), model="apple", action="lift the hold", reason="they are explained"
    )
    hour = at.replace(hour=10)
    # `dag.test` leaves the fields of the run before in the DAG: the action and the version are named here.
    lived["nothing named"] = run(
        dags["operate_model"], hour, model="apple", action="move the champion", version=None, reason=why
    )
    lived["long ago"] = run(dags["score_apple"], at.replace(year=1999), partition="1999-02-28")
    lived["retrain long ago"] = run(dags["retrain_apple"], at.replace(year=1999))
    spoil(datetime(2026, 2, 20, 12, tzinfo=UTC))
    lived["bad day"] = run(dags["score_apple"], at.replace(hour=8), partition="2026-02-20")
    lived["housekeeping"] = run(dags["housekeeping"], at)
    return lived


def spoil(moment: datetime) -> None:
    """Plant an impossible value in the source."""
    engine = create_engine(str(load_settings().database_url).replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE source.apple SET size = -1 WHERE seen_at = :moment"), {"moment": moment})


def main() -> None:
    from airflow.dag_processing.dagbag import DagBag

    db.initdb()
    sys.stdout.write("\nREPORT " + json.dumps(life(DagBag(load_op_links=False).dags)) + "\n")


main()
