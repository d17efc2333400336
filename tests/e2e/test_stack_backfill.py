"""Thirty days of the past by Airflow's own backfill, in both modes, with a promotion in the middle of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from include.cli import main
from include.warehouse import open_engine
from tests.builders import SPEC, TODAY, declare_model, load_parcels, promote_in_the_past
from tests.e2e.conftest import RunningStack, wait_for

pytestmark = pytest.mark.slow

FIRST = datetime(2026, 1, 26, tzinfo=UTC)
LAST = FIRST + timedelta(days=29)
TURN = datetime(2026, 2, 10, 12, tzinfo=UTC)  # in the middle of a day, in the middle of the thirty
DAG_ID = "score_parcels"


def test_thirty_days_in_both_modes_with_a_promotion_in_the_middle(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_two_versions(stack, monkeypatch)
    wait_for(lambda: DAG_ID in dag_ids(stack), 180, "the DAG of the new model")

    backfilled(stack)
    assert counted(stack) == {(True, 1, "champion_then"): 15, (False, 2, "champion_then"): 15}
    events = stack.call("GET", "/assets/events", params={"source_dag_id": DAG_ID, "limit": 100})["asset_events"]
    days = Counter(event["extra"]["partition"] for event in events)
    assert len(days) == 30
    assert set(days.values()) == {1}, "a backfill tells of each partition once"

    backfilled(stack, reprocess_behavior="completed", dag_run_conf={"model_version": 1})
    assert counted(stack) == {(True, 1, "named"): 15, (False, 1, "named"): 15}
    scored = "SELECT model_version, count(*), count(DISTINCT partition_start) FROM scores.parcels GROUP BY 1"
    assert stack.sql(scored) == [(1, 30 * 40, 30)]
    kept = "SELECT mode, count(*) FROM sluice.score_partition WHERE model = 'parcels' GROUP BY 1 ORDER BY 1"
    assert stack.sql(kept) == [("champion_then", 30), ("named", 30)], "the ledger keeps what was published before"


def declare_two_versions(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a model twice, and let the one have been champion until `TURN`, the other since."""
    for name, value in (("HOME", stack.home), ("MODELS_DIR", stack.models), ("DATABASE_URL", stack.database_url)):
        monkeypatch.setenv(f"SLUICE_{name}", str(value))
    engine = open_engine(stack.database_url)
    load_parcels(engine)
    declare_model(stack.models, spec=SPEC.replace("score=None", 'score="0 0 * * *"'))
    for _ in range(2):
        assert main(["train", "parcels", "--as-of", TODAY.isoformat(), "--no-promote"]) == 0
    promote_in_the_past(engine, "parcels", 1, 1, FIRST - timedelta(days=1))
    promote_in_the_past(engine, "parcels", 2, 2, TURN)
    engine.dispose()


def dag_ids(stack: RunningStack) -> set[str]:
    return {dag["dag_id"] for dag in stack.call("GET", "/dags", params={"limit": 100})["dags"]}


def backfilled(stack: RunningStack, **more: object) -> None:
    """Have Airflow score the thirty days, and wait until it says that it did."""
    body = {"dag_id": DAG_ID, "from_date": FIRST.isoformat(), "to_date": LAST.isoformat(), "max_active_runs": 4} | more
    number = stack.call("POST", "/backfills", json=body)["id"]
    wait_for(lambda: stack.call("GET", f"/backfills/{number}")["completed_at"], 900, "thirty partitions", every=2)


def counted(stack: RunningStack) -> dict[tuple[bool, int, str], int]:
    """Count the partitions as they are published now: before the promotion's day or not, by whom, in which mode."""
    rows = stack.sql(
        "SELECT partition_start < %s, version, mode, count(*) FROM sluice.published_partition"
        " WHERE model = 'parcels' GROUP BY 1, 2, 3",
        TURN.replace(hour=0),
    )
    return {(before, version, mode): count for before, version, mode, count in rows}
