"""Days of the past by Airflow's own backfill: four by the champions of then, two again by a version that is named.

Thirty days in both ways: tests/test_backfill.py, without Airflow, which takes two seconds of two cores for each task.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from include.warehouse import open_engine
from tests.e2e.conftest import Declared, RunningStack, wait_for
from tests.past import TURN, counted, two_versions

pytestmark = pytest.mark.slow

DAG_ID = "score_parcels"
MIDDLE = TURN.replace(hour=0)  # the day in which the champion changes is the second one's
ONE_DAY = timedelta(days=1)


def test_four_days_by_the_champions_of_then_and_two_of_them_again_by_a_named_version(
    stack: RunningStack, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOME", stack.home), ("MODELS_DIR", stack.models), ("DATABASE_URL", stack.database_url)):
        monkeypatch.setenv(f"SLUICE_{name}", str(value))
    engine = open_engine(stack.database_url)
    two_versions(engine)

    backfilled(stack, MIDDLE - 2 * ONE_DAY, MIDDLE + ONE_DAY)
    assert counted(engine) == [(True, 1, "champion_then", 2), (False, 2, "champion_then", 2)]
    events = stack.call("GET", "/assets/events", params={"source_dag_id": DAG_ID, "limit": 100})["asset_events"]
    days = Counter(event["extra"]["partition"] for event in events)
    assert len(days) == 4
    assert set(days.values()) == {1}, "a backfill tells of each partition once"

    again = {"reprocess_behavior": "completed", "dag_run_conf": {"model_version": 1}}
    backfilled(stack, MIDDLE - ONE_DAY, MIDDLE, **again)
    assert Counter(counted(engine)) == Counter(
        [
            (True, 1, "champion_then", 1), (True, 1, "named", 1),
            (False, 1, "named", 1), (False, 2, "champion_then", 1),
        ]
    )  # fmt: skip
    scored = "SELECT model_version, count(*), count(DISTINCT partition_start) FROM scores.parcels GROUP BY 1 ORDER BY 1"
    assert stack.sql(scored) == [(1, 3 * 40, 3), (2, 40, 1)]
    rows = stack.sql(
        "SELECT s.row_count, (SELECT count(*) FROM source.parcels p WHERE"
        " p.sent_at >= s.partition_start AND p.sent_at < s.partition_end)"
        " FROM sluice.published_partition s WHERE model = 'parcels'"
    )
    assert len(rows) == 4
    assert all(scored == source for scored, source in rows), "each by its own interval"
    kept = "SELECT mode, count(*) FROM sluice.partition_publication WHERE model = 'parcels' GROUP BY 1 ORDER BY 1"
    assert stack.sql(kept) == [("champion_then", 4), ("named", 2)], "the ledger keeps what was published before"
    engine.dispose()


def backfilled(stack: RunningStack, first: datetime, last: datetime, **more: object) -> None:
    """Have Airflow score the days from the first to the last, and wait until it says that it did."""
    days = {"from_date": first.isoformat(), "to_date": last.isoformat()}
    body = {"dag_id": DAG_ID, "max_active_runs": 4} | days | more
    number = stack.call("POST", "/backfills", json=body)["id"]
    wait_for(lambda: stack.call("GET", f"/backfills/{number}")["completed_at"], 900, "the partitions")
