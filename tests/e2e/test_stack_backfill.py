"""Thirty days of the past by Airflow's own backfill, and ten of them again in the other mode; a promotion between.

All thirty in both modes: tests/test_backfill.py, without Airflow, which takes two seconds of two cores for each task.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from include.cli import main
from include.warehouse import open_engine
from tests.builders import SPEC, declare_model, load_parcels
from tests.e2e.conftest import RunningStack, wait_for
from tests.past import FIRST, LAST, TURN, counted, two_versions

pytestmark = pytest.mark.slow

DAG_ID = "score_parcels"
MIDDLE = TURN.replace(hour=0)
ONE_DAY, FIVE_DAYS = timedelta(days=1), timedelta(days=5)


def test_thirty_days_by_the_champions_of_then_and_ten_of_them_again_by_a_named_version(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOME", stack.home), ("MODELS_DIR", stack.models), ("DATABASE_URL", stack.database_url)):
        monkeypatch.setenv(f"SLUICE_{name}", str(value))
    engine = open_engine(stack.database_url)
    load_parcels(engine)
    declare_model(stack.models, spec=SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * *"'))
    two_versions(engine, lambda *words: main(words))
    wait_for(lambda: DAG_ID in stack.dag_ids(), 180, "the DAG of the new model")

    backfilled(stack)
    assert counted(engine) == [(True, 1, "champion_then", 15), (False, 2, "champion_then", 15)]
    events = stack.call("GET", "/assets/events", params={"source_dag_id": DAG_ID, "limit": 100})["asset_events"]
    days = Counter(event["extra"]["partition"] for event in events)
    assert len(days) == 30
    assert set(days.values()) == {1}, "a backfill tells of each partition once"

    around = {"from_date": (MIDDLE - FIVE_DAYS).isoformat(), "to_date": (MIDDLE + FIVE_DAYS - ONE_DAY).isoformat()}
    backfilled(stack, **around, reprocess_behavior="completed", dag_run_conf={"model_version": 1})
    assert Counter(counted(engine)) == Counter(
        [
            (True, 1, "champion_then", 10), (True, 1, "named", 5),
            (False, 1, "named", 5), (False, 2, "champion_then", 10),
        ]
    )  # fmt: skip
    scored = "SELECT model_version, count(*), count(DISTINCT partition_start) FROM scores.parcels GROUP BY 1 ORDER BY 1"
    assert stack.sql(scored) == [(1, 20 * 40, 20), (2, 10 * 40, 10)]
    kept = "SELECT mode, count(*) FROM sluice.partition_publication WHERE model = 'parcels' GROUP BY 1 ORDER BY 1"
    assert stack.sql(kept) == [("champion_then", 30), ("named", 10)], "the ledger keeps what was published before"
    engine.dispose()


def backfilled(stack: RunningStack, **more: object) -> None:
    """Have Airflow score days of the past, all thirty unless told, and wait until it says that it did."""
    body = {"dag_id": DAG_ID, "from_date": FIRST.isoformat(), "to_date": LAST.isoformat(), "max_active_runs": 4} | more
    number = stack.call("POST", "/backfills", json=body)["id"]
    wait_for(lambda: stack.call("GET", f"/backfills/{number}")["completed_at"], 900, "the partitions", every=2)
