"""Reads what the watcher needs from the ledger, and from Airflow's own tables: a few statements for all models."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from include.watching.state import (
    AirflowState,
    ChampionState,
    DagState,
    HoldState,
    ImportFailure,
    LedgerState,
    Publications,
    QueuedTask,
    RefusedArtifact,
    VersionState,
)

STATEMENT_TIMEOUT: Final = timedelta(seconds=5)
DELIVERY_TIME: Final = timedelta(minutes=10)
"""How long the delivery of an alert may take until it counts as undelivered."""
DELIVERY_WATCHED: Final = timedelta(days=7)
REFUSAL_WATCHED: Final = timedelta(hours=2)  # the service repeats the alert each hour while it cannot load the version
QUEUED_TIME: Final = timedelta(minutes=15)
MAX_QUEUED: Final = 50

_REFUSED: Final = re.compile(r"version (\d+) could not be loaded")
_HEARTBEATS: Final = {"SchedulerJob": "scheduler", "DagProcessorJob": "dag_processor", "TriggererJob": "triggerer"}

_CHAMPIONS = text("""
    SELECT champion.model, champion.version, champion.since,
           (SELECT min(promoted.promoted_at) FROM sluice.promotion AS promoted
            WHERE promoted.model = champion.model AND promoted.sequence > coalesce(
                (SELECT max(deletion.last_sequence) FROM sluice.model_deletion AS deletion
                 WHERE deletion.model = champion.model), 0)) AS first_since,
           (SELECT (known.evaluation -> 'holdout' ->> 'end')::timestamptz FROM sluice.model_version AS known
            WHERE known.model = champion.model AND known.version = champion.version) AS data_end
    FROM sluice.champion AS champion
    ORDER BY champion.model
""")
_VERSIONS = text("""
    SELECT wanted.model, recent.*
    FROM unnest(cast(:models AS text[])) AS wanted (model)
    CROSS JOIN LATERAL (
        SELECT known.version, known.created_at, (known.decision ->> 'accepted')::boolean AS accepted,
               EXISTS (SELECT FROM sluice.promotion AS promoted
                       WHERE promoted.model = known.model AND promoted.to_version = known.version) AS promoted,
               CASE WHEN row_number() OVER (ORDER BY known.version DESC) = 1
                    THEN sluice.approval_is_needed(known.model, known.version) AND NOT EXISTS (
                        SELECT FROM sluice.approval AS decided
                        WHERE decided.model = known.model AND decided.version = known.version)
                    ELSE false END AS waits_for_approval,
               (SELECT gate ->> 'sentence'
                FROM jsonb_array_elements(known.decision -> 'gates') WITH ORDINALITY AS gates (gate, place)
                WHERE NOT (gate ->> 'passed')::boolean ORDER BY place LIMIT 1) AS reason
        FROM sluice.model_version AS known
        WHERE known.model = wanted.model AND known.version > coalesce(
            (SELECT max(deletion.last_version) FROM sluice.model_deletion AS deletion
             WHERE deletion.model = wanted.model), 0)
        ORDER BY known.version DESC LIMIT :versions
    ) AS recent
    ORDER BY wanted.model, recent.version DESC
""")
# All publications count, the removed ones too: that a partition was removed was somebody's decision.
_PUBLICATIONS = text("""
    WITH wanted AS (
        SELECT asked.model, asked.since, coalesce(
            (SELECT max(deletion.last_version) FROM sluice.model_deletion AS deletion
             WHERE deletion.model = asked.model), 0) AS deleted
        FROM unnest(cast(:models AS text[]), cast(:since AS timestamptz[])) AS asked (model, since)
    )
    SELECT wanted.model, newest.*,
           (SELECT range_agg(tstzrange(partition_start, partition_end))
            FROM sluice.partition_publication AS published
            WHERE published.model = wanted.model AND published.version > wanted.deleted
              AND published.partition_start >= wanted.since) AS ranges
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT partition_start AS newest_start, partition_end AS newest_end, version AS newest_version
        FROM sluice.partition_publication AS published
        WHERE published.model = wanted.model AND published.version > wanted.deleted
        ORDER BY partition_start DESC, sequence DESC LIMIT 1
    ) AS newest
    ORDER BY wanted.model
""")
_REFUSALS = text("""
    SELECT model, run_id AS problem, min(raised_at) AS since, (array_agg(error ORDER BY raised_at DESC))[1] AS error
    FROM sluice.alert
    WHERE dag_id = 'model_service' AND raised_at > :since AND run_id LIKE 'version % could not be loaded'
      AND model IS NOT NULL
    GROUP BY model, run_id ORDER BY model, max(raised_at)
""")
_UNDELIVERED = text("""
    SELECT count(*) AS undelivered, min(created_at) AS since FROM sluice.alert_message
    WHERE delivered_at IS NULL AND created_at > :since AND created_at < :until
""")
_HAS_HOLDS = text("SELECT to_regclass('sluice.active_hold') IS NOT NULL")
_HOLDS = text("SELECT model, set_at, held_until, actor, reason FROM sluice.active_hold ORDER BY model")

_HAS_AIRFLOW = text("SELECT to_regclass('public.job') IS NOT NULL AND to_regclass('public.dag') IS NOT NULL")
_DAGS = text("SELECT dag_id, is_paused, is_stale, next_dagrun_create_after FROM public.dag ORDER BY dag_id")
_IMPORT_ERRORS = text("SELECT filename, timestamp, stacktrace FROM public.import_error ORDER BY filename, id")
_JOBS = text("""
    SELECT job_type, max(latest_heartbeat) AS heartbeat FROM public.job
    WHERE job_type = ANY(:types) AND latest_heartbeat IS NOT NULL GROUP BY job_type
""")
_QUEUED = text("""
    SELECT dag_id, task_id, run_id, queued_dttm FROM public.task_instance
    WHERE state = 'queued' AND queued_dttm < :before ORDER BY queued_dttm, dag_id, task_id LIMIT :limit
""")


class AirflowReading(NamedTuple):
    """Airflow's state, or why it could not be read."""

    state: AirflowState | None
    error: str | None = None


def read_ledger(
    engine: Engine, since: Mapping[str, datetime | None], now: datetime, *, versions: int = 10
) -> LedgerState:
    """Read the state of all models in one transaction, with a statement for each kind of fact.

    Parameters
    ----------
    since : mapping of str to datetime or None
        For each declared model, since when its publications are read, see `watched_since`; None: only the newest one.
        Models that only the ledger knows are added.
    versions : int
        The number of versions of each model that are read, the newest ones.

    Raises
    ------
    SQLAlchemyError
        When the database does not answer, or not within `STATEMENT_TIMEOUT`.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        _limit_time(connection)
        champions = {row.pop("model"): ChampionState(**row) for row in _rows(connection, _CHAMPIONS)}
        models = sorted({*since, *champions})
        refusals = _refusals(_rows(connection, _REFUSALS, since=now - REFUSAL_WATCHED), champions)
        [late] = _rows(connection, _UNDELIVERED, since=now - DELIVERY_WATCHED, until=now - DELIVERY_TIME)
        return LedgerState(
            champions=champions,
            versions=_versions(_rows(connection, _VERSIONS, models=models, versions=versions)),
            publications=_publications(
                _rows(connection, _PUBLICATIONS, models=models, since=[since.get(model) for model in models])
            ),
            holds=_holds(connection),
            refused=refusals,
            undelivered=late["undelivered"],
            undelivered_since=late["since"],
        )


def read_airflow(engine: Engine, now: datetime) -> AirflowReading:
    """Read Airflow's own tables: DAGs, import errors, heartbeats, and tasks that have been queued for long.

    It never raises: that Airflow's database cannot be read is a problem of its own, and hides no other.
    """
    try:
        with engine.connect() as connection:
            _limit_time(connection)
            if not connection.execute(_HAS_AIRFLOW).scalar_one():
                return AirflowReading(None, "the database has no tables of Airflow")
            return AirflowReading(_airflow_state(connection, now))
    except SQLAlchemyError as error:
        return AirflowReading(None, first_line(error))


def first_line(error: Exception) -> str:
    """Return what the driver says, in one line; a URL with a password is in none of them."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _limit_time(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL statement_timeout = {int(STATEMENT_TIMEOUT.total_seconds() * 1000)}"))


def _rows(connection: Connection, statement: Any, **values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement, values).mappings()]


def _versions(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[VersionState, ...]]:
    found: dict[str, list[VersionState]] = defaultdict(list)
    for row in rows:
        model = row.pop("model")
        row["waits_for_approval"] = row["waits_for_approval"] and row["accepted"]
        found[model].append(VersionState(**row))
    return {model: tuple(each) for model, each in found.items()}


def _publications(rows: Iterable[dict[str, Any]]) -> dict[str, Publications]:
    found = {}
    for row in rows:
        model, ranges = row.pop("model"), row.pop("ranges") or ()
        found[model] = Publications(ranges=tuple((each.lower, each.upper) for each in ranges), **row)
    return found


def _refusals(rows: Iterable[dict[str, Any]], champions: Mapping[str, ChampionState]) -> dict[str, RefusedArtifact]:
    """Return the refusals of present champions. Of another version, nobody asks for it any more."""
    found = {}
    for row in rows:
        match, champion = _REFUSED.fullmatch(row["problem"]), champions.get(row["model"])
        if match and champion and int(match[1]) == champion.version:
            since = max(row["since"], champion.since)
            found[row["model"]] = RefusedArtifact(champion.version, since, row["error"])
    return found


def _holds(connection: Connection) -> dict[str, HoldState]:
    if not connection.execute(_HAS_HOLDS).scalar_one():
        return {}  # an older schema
    return {
        row["model"]: HoldState(row["set_at"], row["held_until"], row["actor"], row["reason"])
        for row in _rows(connection, _HOLDS)
    }


def _airflow_state(connection: Connection, now: datetime) -> AirflowState:
    return AirflowState(
        dags={
            row["dag_id"]: DagState(bool(row["is_paused"]), bool(row["is_stale"]), row["next_dagrun_create_after"])
            for row in _rows(connection, _DAGS)
        },
        import_errors=tuple(
            ImportFailure(row["filename"] or "a DAG file", row["timestamp"] or now, _last_line(row["stacktrace"]))
            for row in _rows(connection, _IMPORT_ERRORS)
        ),
        heartbeats={
            _HEARTBEATS[row["job_type"]]: row["heartbeat"] for row in _rows(connection, _JOBS, types=list(_HEARTBEATS))
        },
        queued=tuple(
            QueuedTask(row["dag_id"], row["task_id"], row["run_id"], row["queued_dttm"])
            for row in _rows(connection, _QUEUED, before=now - QUEUED_TIME, limit=MAX_QUEUED)
        ),
    )


def _last_line(trace: str | None) -> str:
    lines = (trace or "").strip().splitlines()
    return lines[-1] if lines else "no error is recorded"
