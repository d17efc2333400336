"""What only the whole can show: a third model by a folder alone, kill -9 under Airflow, backfill, a broken spec."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import psutil
import psycopg
import pytest

from tests.e2e.conftest import RunningStack, wait_for
from tests.e2e.diabetes import MEASURES, declare_diabetes, load_diabetes

pytestmark = pytest.mark.slow

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = TODAY - timedelta(days=1)


def test_a_third_model_takes_no_more_than_a_folder(stack: RunningStack) -> None:
    load_diabetes(stack.database_url, until=TODAY)
    declare_diabetes(stack.models)
    wanted = {"retrain_diabetes", "score_diabetes"}
    wait_for(lambda: wanted <= stack.dag_ids(), 180, "the DAGs of the new model")
    assert stack.finished("retrain_diabetes", stack.trigger("retrain_diabetes"), 400) == "success"
    day = f"{YESTERDAY:%Y-%m-%d}"
    assert stack.finished("score_diabetes", stack.trigger("score_diabetes", partition=day)) == "success"
    rows = stack.sql("SELECT entity_key, value, model_version FROM scores.diabetes")
    source = stack.sql("SELECT count(*) FROM source.diabetes WHERE seen_at >= %s AND seen_at < %s", YESTERDAY, TODAY)
    assert len(rows) == source[0][0] > 0

    patient, value, version = rows[0]

    def asked(method: str, path: str, **body: object) -> dict:
        def answer() -> dict | None:
            given = stack.service.request(method, f"/v1/models/diabetes/{path}", **body)
            return given.json() if given.is_success else None

        return wait_for(answer, 20, f"the service to answer {path}")

    looked_up = asked("GET", f"scores/{patient}")
    assert (looked_up["prediction"]["value"], looked_up["version"]) == (value, version)
    features = stack.sql(f"SELECT {', '.join(MEASURES)} FROM source.diabetes WHERE patient = %s", patient)[0]
    predicted = asked("POST", "predict", json={"features": list(features)})
    assert predicted["prediction"]["value"] == value, "batch and online must be the same number"


def test_a_killed_scoring_task_leaves_the_former_rows_and_its_retry_publishes_once(stack: RunningStack) -> None:
    before = stack.sql("SELECT count(*), max(scored_at) FROM scores.flight_delay WHERE partition_start = %s", YESTERDAY)
    former = stack.sql(
        "SELECT max(sequence) FROM sluice.partition_publication WHERE model = 'flight_delay' AND partition_start = %s",
        YESTERDAY,
    )[0][0]
    with psycopg.connect(stack.database_url) as gate:
        # Nobody may change the partition's rows: it stops the task in the middle of its publication.
        gate.execute(f'LOCK TABLE scores."flight_delay_p{YESTERDAY:%Y%m%d_%H%M}" IN SHARE MODE')
        run = stack.trigger("score_flight_delay", partition=f"{YESTERDAY:%Y-%m-%d}")
        port = wait_for(lambda: waiting_client(stack), 60, "the task to reach its publication")
        os.kill(process_of(port), signal.SIGKILL)
    assert stack.finished("score_flight_delay", run, seconds=300) == "success"
    task = stack.call("GET", f"/dags/score_flight_delay/dagRuns/{run}/taskInstances/publish")
    assert task["try_number"] == 2
    sequences = stack.sql(
        "SELECT sequence, row_count FROM sluice.partition_publication"
        " WHERE model = 'flight_delay' AND partition_start = %s AND run_id = %s",
        YESTERDAY,
        run,
    )
    assert sequences == [(former + 1, before[0][0])]
    after = stack.sql("SELECT count(*), count(DISTINCT scored_at), max(scored_at) FROM scores.flight_delay"
                      " WHERE partition_start = %s", YESTERDAY)  # fmt: skip
    assert after[0][:2] == (before[0][0], 1)
    assert after[0][2] > before[0][1]


def waiting_client(stack: RunningStack) -> int | None:
    waiting = stack.sql(
        "SELECT client_port FROM pg_stat_activity WHERE wait_event = 'relation' AND client_port IS NOT NULL"
    )
    return waiting[0][0] if waiting else None


def process_of(port: int) -> int:
    return next(
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.raddr and connection.pid
    )


def test_past_days_are_backfilled_each_by_its_own_interval(stack: RunningStack) -> None:
    first, last = TODAY - timedelta(days=12), TODAY - timedelta(days=10)
    body = {
        "dag_id": "score_flight_delay",
        "from_date": first.isoformat(),
        "to_date": last.isoformat(),
        "reprocess_behavior": "completed",
        "max_active_runs": 2,
        # Before the first champion nobody may score but a version that is named.
        "dag_run_conf": {"model_version": 1},
    }
    stack.call("POST", "/backfills", json=body)

    def published() -> list[tuple]:
        rows = stack.sql(
            "SELECT s.mode, s.row_count, (SELECT count(*) FROM source.flights f WHERE"
            " f.scheduled_at >= s.partition_start AND f.scheduled_at < s.partition_end)"
            " FROM sluice.published_partition s"
            " WHERE model = 'flight_delay' AND partition_start BETWEEN %s AND %s",
            first,
            last,
        )
        return rows if len(rows) == 3 else []

    rows = wait_for(published, 180, "three partitions of the past")
    assert all((mode, scored) == ("named", source) for mode, scored, source in rows)


def test_a_broken_spec_is_shown_in_the_ui_and_breaks_no_other_model(stack: RunningStack) -> None:
    folder = stack.models / "broken"
    folder.mkdir()
    (folder / "features.sql").write_text("SELECT 1")
    (folder / "spec.py").write_text(
        "from include.spec import Numeric\nspec = Numeric(name='x', unit='m', minimum=3, maximum=1)\n"
    )

    def told() -> str | None:
        errors = stack.call("GET", "/importErrors")["import_errors"]
        return next((error["stack_trace"] for error in errors if "broken" in error["stack_trace"]), None)

    trace = wait_for(told, 60, "the import error")
    assert "maximum must be above minimum" in trace
    assert {"retrain_iris", "retrain_flight_delay", "score_flight_delay", "operate_model"} <= stack.dag_ids()
