"""Rows of the ledger, written as a test needs them: what is exported depends on nothing else."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

from include.records import Evaluation, Period

_VERSION = text("""
    INSERT INTO sluice.model_version (model, version, artifact_digest, spec_digest, data_digest, run_id, evaluation,
        decision, created_at, evidence_digest)
    VALUES (:model, :version, 'a', 's', 'd', :run_id, cast(:evaluation AS jsonb), '{"accepted": true, "gates": []}',
        :at, 'e')
""")
_PROMOTION = text("""
    INSERT INTO sluice.promotion (model, sequence, from_version, to_version, actor, reason, evidence_digest,
        promoted_at)
    SELECT :model, count(*) + 1, NULL, :version, 'tests', 'to see what is exported', 'e', :at
    FROM sluice.promotion WHERE model = :model
""")
_PUBLICATION = text("""
    INSERT INTO sluice.partition_publication (model, partition_start, partition_end, version, artifact_digest,
        query_digest, row_count, rows_digest, run_id, sequence, published_at, attempt)
    VALUES (:model, :start, :end, :version, 'a', 'q', 1, 'r', 'run', :sequence, :at, :sequence)
""")
_ALERT = text("""
    WITH incident AS (
        INSERT INTO sluice.incident (key, kind, model, severity, summary, opened_at, last_seen_at)
        VALUES (gen_random_uuid(), 'failed_run', :model, 'ticket', 'what went wrong', :at, :at) RETURNING id
    ), message AS (
        INSERT INTO sluice.alert_message (incident_id, number, reference, channel, action, title, body, created_at,
            attempts, next_attempt_at, delivered_at)
        SELECT id, 1, 'r', 'default', 'trigger', '', '', :at, 1, :at, CASE WHEN :delivered THEN :at END FROM incident
    )
    INSERT INTO sluice.alert (model, dag_id, run_id, error, raised_at, incident_id)
    SELECT :model, :dag_id, :run_id, 'what went wrong', :at, id FROM incident
""")


def register(engine: Engine, model: str, version: int, *, at: datetime, holdout: Period | None = None) -> None:
    evaluation = Evaluation(model=model, rows=1, candidate={}, baseline={}, holdout=holdout)
    values = {"model": model, "version": version, "run_id": f"run-{version}", "at": at}
    with engine.begin() as connection:
        connection.execute(_VERSION, values | {"evaluation": evaluation.model_dump_json()})


def promote(engine: Engine, model: str, version: int, *, at: datetime) -> None:
    with engine.begin() as connection:
        connection.execute(_PROMOTION, {"model": model, "version": version, "at": at})


def champion(engine: Engine, model: str, version: int, *, at: datetime, holdout: Period | None = None) -> None:
    register(engine, model, version, at=at, holdout=holdout)
    promote(engine, model, version, at=at)


def publish(engine: Engine, model: str, version: int, period: Period, *, at: datetime, sequence: int = 1) -> None:
    values = {"model": model, "version": version, "start": period.start, "end": period.end, "at": at}
    values |= {"sequence": sequence}
    with engine.begin() as connection:
        connection.execute(_PUBLICATION, values)


def alert(
    engine: Engine, model: str | None, *, at: datetime, delivered: bool = False, dag_id: str = "d", run_id: str = "r"
) -> None:
    values = {"model": model, "at": at, "delivered": delivered, "dag_id": dag_id, "run_id": run_id}
    with engine.begin() as connection:
        connection.execute(_ALERT, values)
