"""Faults to plant into a state in which nothing is wrong: of a model, and of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from include.watching.expected import expected_partitions
from include.watching.state import (
    BrokenDeclaration,
    DagState,
    ImportFailure,
    LabelCount,
    Publications,
    QueuedTask,
    RefusedArtifact,
    ServedVersion,
    VersionState,
    WatchState,
)
from tests.watching.states import DAY, HOUR, MINUTE, SINCE, with_airflow, with_ledger, with_service

OfModel = Callable[[WatchState, str, datetime], WatchState]
OfAll = Callable[[WatchState, datetime], WatchState]


def _publications(state: WatchState, model: str, changed: Publications | None) -> WatchState:
    assert state.ledger is not None
    others = {name: each for name, each in state.ledger.publications.items() if name != model}
    return with_ledger(state, publications=others | ({model: changed} if changed else {}))


def late(state: WatchState, model: str, now: datetime, missed: int = 2) -> WatchState:
    """Let the newest partitions be unpublished, of which the first is due by now."""
    expected = [each for each in expected_partitions(state.specs[model], SINCE, now) if each.deadline < now]
    expected = expected[: max(len(expected) - missed, 0)]
    if not expected:
        return _publications(state, model, None)
    return _publications(
        state, model, Publications(((expected[0].start, expected[-1].end),), expected[-1].start, expected[-1].end, 1)
    )


def hole(state: WatchState, model: str, now: datetime) -> WatchState:
    expected = expected_partitions(state.specs[model], SINCE, now)
    gone, last = expected[3], expected[-1]
    ranges = ((expected[0].start, gone.start), (gone.end, last.end))
    return _publications(state, model, Publications(ranges, last.start, last.end, 1))


def champion(state: WatchState, model: str, **changes: Any) -> WatchState:
    assert state.ledger is not None
    found = state.ledger.champions
    return with_ledger(state, champions={**found, model: replace(found[model], **changes)})


def stale(state: WatchState, model: str, now: datetime) -> WatchState:
    return champion(state, model, data_end=now - 40 * DAY)


def none(state: WatchState, model: str, _now: datetime) -> WatchState:
    assert state.ledger is not None
    state = with_ledger(
        state,
        champions={name: each for name, each in state.ledger.champions.items() if name != model},
        versions={**state.ledger.versions, model: ()},
    )
    return _served(_publications(state, model, None), model, ServedVersion("no_champion", None, "", SINCE))


def versions(state: WatchState, model: str, *newest: VersionState) -> WatchState:
    assert state.ledger is not None
    return with_ledger(state, versions={**state.ledger.versions, model: (*newest, *state.ledger.versions[model])})


def rejected(state: WatchState, model: str, now: datetime) -> WatchState:
    each = [
        VersionState(number, now - DAY, accepted=False, promoted=False, reason="auc: 0.71, limit 0.8: failed")
        for number in (4, 3, 2)
    ]
    return versions(state, model, *each)


def waiting(state: WatchState, model: str, now: datetime) -> WatchState:
    return versions(
        state, model, VersionState(2, now - 30 * HOUR, accepted=True, promoted=False, waits_for_approval=True)
    )


def _served(state: WatchState, model: str, served: ServedVersion) -> WatchState:
    assert state.service is not None
    return with_service(state, models={**state.service.models, model: served})


def mismatch(state: WatchState, model: str, now: datetime) -> WatchState:
    state = champion(state, model, version=2, since=now - HOUR)
    return _served(state, model, ServedVersion("serving", 1, "serving version 1", SINCE))


def refused(state: WatchState, model: str, now: datetime) -> WatchState:
    state = champion(state, model, version=2, since=now - HOUR)
    said = ServedVersion("serving", 1, "serving version 1; the champion, version 2, could not be loaded", now - HOUR)
    refusal = RefusedArtifact(2, now - HOUR, "digest of model.onnx differs")
    assert state.ledger is not None
    return with_ledger(_served(state, model, said), refused={**state.ledger.refused, model: refusal})


def refused_and_nothing_served(state: WatchState, model: str, now: datetime) -> WatchState:
    said = ServedVersion("load_failed", None, "the champion, version 1, could not be loaded", now - HOUR)
    return _served(state, model, said)


def broken(state: WatchState, model: str, now: datetime) -> WatchState:
    """Let the declaration be broken, with what follows: no DAGs, an import error, late partitions."""
    state = vanish(late(state, model, now), model)
    found = BrokenDeclaration(model, "spec.py:12: maximum must be above minimum")
    failure = ImportFailure("dags/declarations.py", now - HOUR, "SluiceError: spec.py:12")
    return with_airflow(replace(state, broken=(*state.broken, found)), import_errors=(failure,))


def vanish(state: WatchState, model: str) -> WatchState:
    assert state.airflow is not None
    specs = {name: spec for name, spec in state.specs.items() if name != model}
    dags = {name: dag for name, dag in state.airflow.dags.items() if not name.endswith(f"_{model}")}
    return with_airflow(replace(state, specs=specs), dags=dags)


def vanished(state: WatchState, model: str, now: datetime) -> WatchState:
    return vanish(late(state, model, now), model)


def _dag(state: WatchState, dag_id: str, dag: DagState | None) -> WatchState:
    assert state.airflow is not None
    others = {name: each for name, each in state.airflow.dags.items() if name != dag_id}
    return with_airflow(state, dags=others | ({dag_id: dag} if dag else {}))


def paused(state: WatchState, model: str, now: datetime) -> WatchState:
    return _dag(late(state, model, now), f"score_{model}", DagState(paused=True, next_run=now - 30 * HOUR))


def retrain_paused(state: WatchState, model: str, now: datetime) -> WatchState:
    return _dag(stale(state, model, now), f"retrain_{model}", DagState(paused=True, next_run=now - 30 * DAY))


def missing(state: WatchState, model: str, now: datetime) -> WatchState:
    return _dag(late(state, model, now), f"score_{model}", None)


def gone_stale(state: WatchState, model: str, now: datetime) -> WatchState:
    return _dag(stale(state, model, now), f"retrain_{model}", DagState(stale=True))


def no_labels(state: WatchState, model: str, now: datetime) -> WatchState:
    return replace(state, labels={**state.labels, model: LabelCount(now - 4 * DAY, now - 3 * DAY, 863, 0)})


OF_A_MODEL: Mapping[str, tuple[OfModel, str]] = {
    "late": (late, "late_partition"),
    "late since the first": (lambda state, model, now: late(state, model, now, 10_000), "late_partition"),
    "hole": (hole, "missing_partition"),
    "stale": (stale, "stale_champion"),
    "none": (none, "no_champion"),
    "rejected": (rejected, "rejected_often"),
    "waiting": (waiting, "approval_waiting"),
    "mismatch": (mismatch, "version_mismatch"),
    "refused": (refused, "refused_artifact"),
    "refused, nothing served": (refused_and_nothing_served, "refused_artifact"),
    "broken": (broken, "broken_declaration"),
    "vanished": (vanished, "vanished_declaration"),
    "paused": (paused, "paused_dag"),
    "retrain paused": (retrain_paused, "paused_dag"),
    "missing": (missing, "missing_dag"),
    "gone stale": (gone_stale, "missing_dag"),
    "no labels": (no_labels, "late_labels"),
}
"""Each is planted with what follows from it, and is one problem."""


def dead(part: str) -> OfAll:
    def plant(state: WatchState, now: datetime) -> WatchState:
        assert state.airflow is not None
        return with_airflow(state, heartbeats={**state.airflow.heartbeats, part: now - 90 * MINUTE / 60})

    return plant


def service_down(state: WatchState, now: datetime) -> WatchState:
    return with_service(state, error="no answer (ConnectionRefusedError)", models={}, answered_at=now - MINUTE)


def database_down(state: WatchState, now: datetime) -> WatchState:
    return replace(
        state,
        ledger=None,
        ledger_error="connection refused",
        ledger_read_at=now - MINUTE,
        airflow=None,
        airflow_error="connection refused",
    )


def full(share: float) -> OfAll:
    def plant(state: WatchState, _now: datetime) -> WatchState:
        assert state.disk is not None
        return replace(state, disk=replace(state.disk, free=int(share * state.disk.total)))

    return plant


def undelivered(state: WatchState, now: datetime) -> WatchState:
    return with_ledger(state, undelivered=3, undelivered_since=now - HOUR)


def queued(state: WatchState, now: datetime) -> WatchState:
    return with_airflow(state, queued=(QueuedTask("score_parcels", "validate", "scheduled__1", now - HOUR),))


def import_error(state: WatchState, now: datetime) -> WatchState:
    """Let a file of DAGs be broken, with what follows: all of its DAGs are gone."""
    assert state.airflow is not None
    left = {name: dag for name, dag in state.airflow.dags.items() if not name.startswith("score_")}
    failure = ImportFailure("dags/score.py", now - HOUR, "NameError: name 'x' is not defined")
    return with_airflow(state, import_errors=(*state.airflow.import_errors, failure), dags=left)


def unreadable(state: WatchState, _now: datetime) -> WatchState:
    return replace(state, airflow=None, airflow_error="permission denied for table dag")


def no_watcher(state: WatchState, now: datetime) -> WatchState:
    return replace(state, heartbeats={"watch": now - HOUR})


OF_ALL: Mapping[str, tuple[OfAll, str]] = {
    "scheduler": (dead("scheduler"), "dead_scheduler"),
    "DAG processor": (dead("dag_processor"), "dead_dag_processor"),
    "triggerer": (dead("triggerer"), "dead_triggerer"),
    "service": (service_down, "service_down"),
    "database": (database_down, "database_down"),
    "disk": (full(0.1), "disk_filling"),
    "disk, nearly": (full(0.04), "disk_filling"),
    "alerts": (undelivered, "undelivered_alert"),
    "queue": (queued, "queued_task"),
    "import": (import_error, "import_error"),
    "Airflow's database": (unreadable, "airflow_unreadable"),
    "watcher": (no_watcher, "dead_watcher"),
}
