"""Builders of declarations and states in which nothing is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.spec import Contract, EntityKey, ModelSpec, Numeric, Target, TrainingWindow
from include.watching.expected import deadline_of, expected_partitions
from include.watching.state import (
    AirflowState,
    ChampionState,
    DagState,
    DiskState,
    LedgerState,
    Publications,
    ServedVersion,
    ServiceState,
    VersionState,
    WatchState,
)

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SINCE = NOW - 20 * DAY
"""When the first champions were promoted."""
EVERYTHING = frozenset({"airflow", "service"})
GIB = 1024**3


def declared(name: str = "parcels", **fields: Any) -> ModelSpec:
    """Return a declaration; by default scored daily and retrained on Mondays."""
    values: dict[str, Any] = {
        "name": name,
        "task": "regression",
        "description": "How late will it be?",
        "owner": "tests",
        "source": f"source.{name}",
        "entity_key": EntityKey(column="parcel_id"),
        "event_time": "sent_at",
        "features": (Numeric(name="weight", unit="kg", minimum=0, maximum=100),),
        "target": Target(column="delay"),
        "estimator": lambda _: None,
        "window": TrainingWindow(train=40 * DAY, holdout=10 * DAY),
        "contract": Contract(training_rows=(1, 100), partition_rows=(0, 100)),
        "retrain_schedule": "0 4 * * 1",
        "score_schedule": "0 0 * * *",
    }
    return ModelSpec(**{**values, **fields})


def published_until(spec: ModelSpec, now: datetime, first: datetime = SINCE) -> Publications | None:
    """Return publications of every partition that ended by `now`, as a scheduler that works makes them."""
    expected = expected_partitions(spec, first, now)
    if not expected:
        return None
    return Publications(((expected[0].start, expected[-1].end),), expected[-1].start, expected[-1].end, 1)


def healthy(*specs: ModelSpec, now: datetime = NOW) -> WatchState:
    """Return the state of models and processes that are all as they should be."""
    publications = {spec.name: published_until(spec, now) for spec in specs}
    dag = DagState(next_run=now + HOUR)
    return WatchState(
        specs={spec.name: spec for spec in specs},
        declared_since={spec.name: SINCE for spec in specs},
        expected=EVERYTHING,
        ledger=LedgerState(
            champions={spec.name: ChampionState(1, SINCE, SINCE, now - DAY) for spec in specs},
            versions={spec.name: (VersionState(1, SINCE, accepted=True, promoted=True),) for spec in specs},
            publications={name: each for name, each in publications.items() if each is not None},
        ),
        ledger_read_at=now,
        airflow=AirflowState(
            dags={f"{kind}_{spec.name}": dag for spec in specs for kind in ("score", "retrain")},
            heartbeats=dict.fromkeys(("scheduler", "dag_processor", "triggerer"), now - timedelta(seconds=4)),
        ),
        service=ServiceState(
            "http://service:8090",
            {spec.name: ServedVersion("serving", 1, "serving the champion, version 1", SINCE) for spec in specs},
            None,
            now,
        ),
        disk=DiskState(Path("home"), 50 * GIB, 100 * GIB),
        heartbeats={"watch": now - timedelta(seconds=5)},
        began=now - DAY,
    )


def with_ledger(state: WatchState, **changes: Any) -> WatchState:
    assert state.ledger is not None
    return replace(state, ledger=replace(state.ledger, **changes))


def with_airflow(state: WatchState, **changes: Any) -> WatchState:
    assert state.airflow is not None
    return replace(state, airflow=replace(state.airflow, **changes))


def with_service(state: WatchState, **changes: Any) -> WatchState:
    assert state.service is not None
    return replace(state, service=replace(state.service, **changes))


def due(spec: ModelSpec, now: datetime) -> list[datetime]:
    """Return the starts of the partitions whose deadline is over."""
    return [each.start for each in expected_partitions(spec, SINCE, now) if deadline_of(spec, each.period) < now]
