"""Publication: in one transaction a partition gets its rows and its row in the ledger, or nothing changes.

A partition that was never published is attached: its staged tables become the partition, and no row is copied. A
published one is replaced row by row under MVCC: an exchange of its table would need a lock, which waits for the longest
query and blocks other readers meanwhile. In both cases a reader sees all of the former rows or all of the new ones, and
never waits (docs/decisions/0008).
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from include.errors import DatabaseError, ReconciliationError
from include.records import PublishedPartition, ScorePlan, StagedShard
from include.scoring.attempts import STAGING, Attempt, AttemptKey, acquire_attempt, partition_name, staging_name
from include.scoring.planning import check_fits
from include.scoring.reconciliation import reconcile
from include.scoring.row_digests import combine_sums, format_digest, parse_digest
from include.scoring.staging_cleanup import drop_of_plan
from include.spec import ModelSpec

_PARTITION = """
    SELECT model, partition_start, partition_end, version, artifact_digest, query_digest, row_count, rows_digest,
           run_id, sequence, published_at, mode, shards, attempt, source_digest, unknown_categories
    FROM sluice.partition_publication WHERE model = %(model)s AND partition_start = %(start)s
    ORDER BY sequence DESC LIMIT 1
"""
_LEDGER_ROW = """
    INSERT INTO sluice.partition_publication
        (model, partition_start, partition_end, version, artifact_digest, query_digest, row_count, rows_digest, run_id,
         sequence, mode, shards, attempt, source_digest, unknown_categories)
    VALUES (%(model)s, %(start)s, %(end)s, %(version)s, %(artifact_digest)s, %(query_digest)s, %(row_count)s,
            %(rows_digest)s, %(run_id)s, %(sequence)s, %(mode)s, %(shards)s, %(attempt)s,
            %(source_digest)s, %(unknown_categories)s)
"""


def publish(
    engine: Engine, spec: ModelSpec, plan: ScorePlan, staged: Sequence[StagedShard], try_number: int = 1
) -> PublishedPartition:
    """Make the staged shards the partition that analysts read, and drop the staging tables.

    If the same run has published the same rows already, this changes nothing and returns that publication: a retry
    after a kill publishes once.

    Raises
    ------
    ReconciliationError
        When shards are missing, do not hold the validated rows, or changed after they were staged; the former rows
        stay.
    ScoreBoundsError
        When the scores' distribution is outside the declared bounds; the former rows stay.
    FencedError
        When a newer attempt has replaced this one.
    DatabaseError
        When the database fails otherwise.
    """
    key = AttemptKey(plan.model, plan.period.start, plan.run_id, "publish", plan.attempt, try_number=try_number)
    with acquire_attempt(engine, key) as attempt, attempt.connection.transaction():
        attempt.lock()
        former = _former(attempt)
        attached = _is_attached(attempt)
        digest = format_digest(combine_sums(parse_digest(shard.rows_digest) for shard in staged))
        if attached and former is not None and _same(former, plan, digest):
            drop_of_plan(attempt)
            return former
        reconcile(spec, plan, staged)
        check_fits(attempt.connection, spec, plan.period)
        _check_staged(attempt, staged)
        if attached:
            _replace(attempt, spec, staged)
        else:
            _attach(attempt, plan, staged)
        _note(attempt, plan, digest, 1 if former is None else former.sequence + 1)
        drop_of_plan(attempt)
        published = _former(attempt)
    assert published is not None  # noqa: S101  # the row was written in this transaction
    return published


def abandon(engine: Engine, plan: ScorePlan) -> None:
    """Abandon a plan: drop its staging tables. The published rows stay as they are."""
    key = AttemptKey(plan.model, plan.period.start, plan.run_id, "publish", plan.attempt)
    with acquire_attempt(engine, key) as attempt, attempt.connection.transaction():
        attempt.lock()
        drop_of_plan(attempt)


def _former(attempt: Attempt) -> PublishedPartition | None:
    with attempt.connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_PARTITION, attempt.key.sql_params()).fetchone()
    return None if row is None else PublishedPartition.model_validate(row)


def _same(former: PublishedPartition, plan: ScorePlan, digest: str) -> bool:
    # The mode is compared, too: a backfill that is repeated with a named version keeps its run id.
    # The source, too: rows may change without a change of their scores, and must not be found again and again.
    known = (former.run_id, former.mode, former.version, former.artifact_digest, former.source_digest)
    planned = (plan.run_id, plan.mode, plan.version, plan.artifact_digest, plan.source_digest)
    return known == planned and former.rows_digest == digest


def _check_staged(attempt: Attempt, staged: Sequence[StagedShard]) -> None:
    """Check that the staged tables hold the rows that their tasks reported."""
    for shard in staged:
        (rows,) = attempt.connection.execute(f'SELECT count(*) FROM {STAGING}."{shard.table}"').fetchone() or (0,)  # noqa: S608  # a checked identifier
        if rows != shard.row_count:
            raise ReconciliationError(
                f"{attempt.key}: expected the {shard.row_count:,} rows of shard {shard.shard} in "
                f"{STAGING}.{shard.table}; found {rows:,}. Nothing was published, the former rows stay: "
                "run again from `plan`."
            )


def _is_attached(attempt: Attempt) -> bool:
    """Return whether the partition is attached and must be replaced; drop what retention left of a detached one.

    Raises
    ------
    DatabaseError
        When retention is removing it at this moment.
    """
    name = f'scores."{partition_name(attempt.key.model, attempt.key.start)}"'
    row = attempt.connection.execute(
        "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)", [name]
    ).fetchone()
    if row is None:
        attempt.connection.execute(f"DROP TABLE IF EXISTS {name}")
    elif row[0]:
        raise DatabaseError(
            f"{attempt.key}: expected a partition that can be replaced; found that retention is removing it and waits "
            "for a long query that reads it. Run again after that query has ended and `housekeeping` has run."
        )
    return row is not None


def _replace(attempt: Attempt, spec: ModelSpec, staged: Sequence[StagedShard]) -> None:
    partition = f'scores."{partition_name(attempt.key.model, attempt.key.start)}"'
    found = attempt.connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f'scores."{spec.name}"'],
    )
    columns = ", ".join(f'"{row[0]}"' for row in found.fetchall())
    attempt.connection.execute(f"DELETE FROM {partition}")  # noqa: S608  # a checked identifier, as all below
    for shard in staged:
        attempt.connection.execute(
            f'INSERT INTO {partition} ({columns}) SELECT {columns} FROM {STAGING}."{shard.table}"'  # noqa: S608
        )


def _attach(attempt: Attempt, plan: ScorePlan, staged: Sequence[StagedShard]) -> None:
    name = partition_name(plan.model, plan.period.start)
    ready = staging_name(plan.model, plan.period.start, plan.attempt)
    if plan.shards == 1:
        ready = staged[0].table
    for shard in staged if plan.shards > 1 else ():
        part = f"{name}_s{shard.shard}"
        attempt.connection.execute(
            f'ALTER TABLE {STAGING}."{ready}" ATTACH PARTITION {STAGING}."{shard.table}" '
            f"FOR VALUES WITH (MODULUS {plan.shards}, REMAINDER {shard.shard})"
        )
        attempt.connection.execute(f'ALTER TABLE {STAGING}."{shard.table}" RENAME TO "{part}"')
        attempt.connection.execute(f'ALTER TABLE {STAGING}."{part}" SET SCHEMA scores')
    attempt.connection.execute(f'ALTER TABLE {STAGING}."{ready}" RENAME TO "{name}"')
    attempt.connection.execute(f'ALTER TABLE {STAGING}."{name}" SET SCHEMA scores')
    attempt.connection.execute(
        f'ALTER TABLE scores."{plan.model}" ATTACH PARTITION scores."{name}" '
        f"FOR VALUES FROM ('{plan.period.start.isoformat()}') TO ('{plan.period.end.isoformat()}')"
    )
    for part in (f"{name}_s{shard.shard}" for shard in staged) if plan.shards > 1 else (name,):
        attempt.connection.execute(f'ALTER TABLE scores."{part}" DROP CONSTRAINT of_partition')  # from the bounds


def _note(attempt: Attempt, plan: ScorePlan, digest: str, sequence: int) -> None:
    row = {
        "model": plan.model,
        "start": plan.period.start,
        "end": plan.period.end,
        "version": plan.version,
        "artifact_digest": plan.artifact_digest,
        "query_digest": plan.query_digest,
        "row_count": plan.rows,
        "rows_digest": digest,
        "run_id": plan.run_id,
        "sequence": sequence,
        "mode": plan.mode,
        "shards": plan.shards,
        "attempt": attempt.number,
        "source_digest": plan.source_digest,
        "unknown_categories": Jsonb([each.to_plain() for each in plan.unknown_categories]),
    }
    attempt.connection.execute(_LEDGER_ROW, row)
