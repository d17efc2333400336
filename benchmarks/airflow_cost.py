"""What Airflow costs: a partition of 1,000 rows from its trigger to its asset event, and where the seconds go.

    .venv/bin/python benchmarks/airflow_cost.py [--runs 5] [--no-write]

The real stack of `make run` without its service, in a home of the bench's own (.sluice/bench-airflow), with one
small model. Writes its table into docs/performance.md. Use a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from serving_peers.report import write_between_markers
from sqlalchemy import text

from deploy.local_stack.airflow_api import AirflowApi
from deploy.local_stack.polling import poll_until
from deploy.local_stack.ports import free_port
from deploy.local_stack.stack import Stack
from include import pipeline
from include.models import read_spec
from include.resources import open_resources
from include.settings import REPOSITORY, Settings, set_for_libraries

DOCUMENT = REPOSITORY / "docs" / "performance.md"
BEGIN, END = "<!-- airflow: begin -->", "<!-- airflow: end -->"
ROWS = 1_000
MOST_SECONDS = 15.0
DAG_ID = "score_thousand"
ORDER = ("validate", "plan", "score", "publish")
DAYS = 30
SPEC = """
from datetime import timedelta

from include.spec import *


def build(columns):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


spec = ModelSpec(
    name="thousand", task="binary", description="A thousand rows a day.", owner="benchmarks", source="source.thousand",
    entity_key=EntityKey(column="id", type="bigint"), event_time="seen_at",
    features=(Numeric(name="size", unit="cm", minimum=0, maximum=100),
              Numeric(name="age", unit="d", minimum=0, maximum=100)),
    target=Target(column="label", classes=("small", "large")), estimator=build,
    window=TrainingWindow(train=timedelta(days=20), holdout=timedelta(days=9)),
    contract=Contract(training_rows=(10, 100_000), partition_rows=(1, 10_000)),
    gates=(MinimumLabels(rows=10),), retrain_schedule=None, score_schedule=None,
)
"""
QUERY = """SELECT id, seen_at, size, age, label FROM source.thousand
WHERE seen_at >= :period_start AND seen_at < :period_end"""
TABLE = f"""
CREATE TABLE source.thousand AS
SELECT n AS id, cast(:until AS timestamptz) - interval '{DAYS} days' + n * interval '1 day' / {ROWS} AS seen_at,
       (n * 37 % 101)::float8 AS size, (n * 53 % 97)::float8 AS age,
       CASE WHEN n * 37 % 101 + n * 31 % 41 > 70 THEN 'large' ELSE 'small' END AS label
FROM generate_series(0, {DAYS * ROWS - 1}) AS n
"""


def prepared(stack: Stack, today: datetime) -> None:
    """Start the database and give the model a table and a champion."""
    folder = stack.settings.models_dir / "thousand"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.py").write_text(SPEC, encoding="utf-8")
    (folder / "features.sql").write_text(QUERY, encoding="utf-8")
    for step in (stack.start_database, stack.migrate_schema, stack.migrate_airflow):
        step(say)
    spec = read_spec(folder / "spec.py")
    with open_resources(stack.settings.model_copy(update={"database_url": stack.database_url})) as resources:
        with resources.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS source.thousand"))
            connection.execute(text(TABLE), {"until": today})
        if resources.ledger.champion("thousand") is None:
            say("a champion")
            version = pipeline.retrain(
                spec, "bench", today, resources, report=None, rehearsal=None, until="gate"
            ).version
            pipeline.move_champion("thousand", version.version, "bench", "to have one", resources)


def measured(stack: Stack, day: date) -> dict[str, float]:
    """Score one day by Airflow; return the seconds to the event, and of each task those before it and those at work."""
    api = stack.api
    began = datetime.now(UTC)
    run_id = api.trigger(DAG_ID, {"partition": day.isoformat()}, "benchmark")

    def event() -> datetime | None:
        stack.check_processes()
        if api.run_state(DAG_ID, run_id) == "failed":
            raise SystemExit(f"{DAG_ID} {run_id} failed; its log is in {stack.airflow.folder / 'logs'}")
        return event_of(api, run_id)

    arrived = poll_until(event, stack.stop, timeout=300, on_timeout=TimeoutError, interval=0.2)
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    tasks: dict[str, Any] = {each["task_id"]: each for each in api.get(path)["task_instances"]}
    seconds, former = {"all": (arrived - began).total_seconds()}, began
    for name in ORDER:
        start, end = (datetime.fromisoformat(tasks[name][key]) for key in ("start_date", "end_date"))
        seconds |= {f"{name} waits": (start - former).total_seconds(), f"{name} works": (end - start).total_seconds()}
        former = end
    return seconds


def event_of(api: AirflowApi, run_id: str) -> datetime | None:
    """Return when the run's asset event was emitted; None while it was not."""
    found = api.get("/api/v2/assets/events", source_dag_id=DAG_ID, source_run_id=run_id)["asset_events"]
    return datetime.fromisoformat(found[0]["timestamp"]) if found else None


def table(rounds: list[dict[str, float]]) -> str:
    """Return the medians as Markdown, and the verdict."""
    middle = {name: median(each[name] for each in rounds) for name in rounds[0]}
    lines = [f"Medians of {len(rounds)} runs, {datetime.now(UTC):%Y-%m-%d}:", ""]
    lines += ["| task | s until it starts | s running |", "|---|--:|--:|"]
    lines += [f"| `{name}` | {middle[f'{name} waits']:.2f} | {middle[f'{name} works']:.2f} |" for name in ORDER]
    waiting = sum(middle[f"{name} waits"] for name in ORDER)
    working = sum(middle[f"{name} works"] for name in ORDER)
    lines += [f"| all | {waiting:.2f} | {working:.2f} |", ""]
    kept = "met" if middle["all"] < MOST_SECONDS else "**MISSED**"
    slowest = max(each["all"] for each in rounds)
    lines.append(
        f"From trigger to asset event: {middle['all']:.1f} s, the slowest {slowest:.1f} s; limit: under "
        f"{MOST_SECONDS:.0f} s: {kept}. A task waits for the scheduler's next loop and its process. While it runs, it "
        "opens the database, and validates, plans, scores or publishes."
    )
    return "\n".join(lines)


_said: list[str] = []


def say(words: str) -> None:
    """Print each message once, although a wait reports it every second."""
    if words not in _said[-1:]:
        _said.append(words)
        sys.stderr.write(f"{words} …\n")


def main() -> None:
    """Start, measure, write, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    home = Path(REPOSITORY / ".sluice" / "bench-airflow")
    airflow = free_port(18080)
    settings = Settings(
        home=home, models_dir=home / "models", airflow_port=airflow, airflow_url=f"http://127.0.0.1:{airflow}",
        service_port=free_port(18190, reserved=(airflow,)), database_url=None,
    )  # fmt: skip
    # Airflow's processes inherit it: they read the models that are declared there.
    set_for_libraries("SLUICE_MODELS_DIR", str(settings.models_dir))
    stack = Stack(settings, threading.Event())
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        prepared(stack, today)
        stack.start_airflow(say)
        poll_until(lambda: DAG_ID in stack.api.dags() or None, stack.stop, timeout=120, on_timeout=TimeoutError)
        measured(stack, (today - timedelta(days=1)).date())  # the first run after a start pays for what is cold
        rounds = []
        for number in range(options.runs):
            rounds.append(measured(stack, (today - timedelta(days=2 + number)).date()))
            say(f"run {number + 1}: {rounds[-1]['all']:.1f} s")
            time.sleep(1)
    finally:
        stack.close(threading.Event())
    found = table(rounds)
    sys.stdout.write(found + "\n")
    if not options.no_write:
        write_between_markers(DOCUMENT, found, BEGIN, END)


if __name__ == "__main__":
    main()
