"""The plan of a partition: the version that scores it, and the number of shards."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Connection
from sqlalchemy import Engine

from include.errors import PartitionOverlapError
from include.records import Period, ScoreMode, ScorePlan, Shard, UnknownCategories, as_argument
from include.scoring.attempts import STAGING, AttemptKey, acquire_attempt, staging_name
from include.scoring.errors import database_errors
from include.scoring.staging_cleanup import drop_replaced
from include.scoring.tables import ensure_score_table
from include.spec import ModelSpec

MAX_SHARDS = 64

# The bounds of a partition in PostgreSQL's text, parsed into two times.
_OVERLAPPING = """
    SELECT bounds[1]::timestamptz, bounds[2]::timestamptz
    FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid,
    regexp_match(pg_get_expr(part.relpartbound, part.oid), $$FROM \\('(.*)'\\) TO \\('(.*)'\\)$$) AS bounds
    WHERE inhparent = to_regclass(%(table)s)
      AND bounds[1]::timestamptz < %(end)s AND bounds[2]::timestamptz > %(start)s
      AND (bounds[1]::timestamptz, bounds[2]::timestamptz) <> (%(start)s::timestamptz, %(end)s::timestamptz)
    ORDER BY 1 LIMIT 1
"""


def plan(
    engine: Engine,
    spec: ModelSpec,
    period: Period,
    *,
    rows: int,
    run_id: str,
    version: int,
    artifact_digest: str,
    query_digest: str,
    mode: ScoreMode,
    shards: int | None = None,
    try_number: int = 1,
    source_digest: str | None = None,
    unknown_categories: Sequence[UnknownCategories] = (),
) -> ScorePlan:
    """Prepare the score table, replace older attempts at the partition, and divide it into shards.

    Parameters
    ----------
    rows : int
        Number of rows in the validated period.
    artifact_digest, query_digest : str
        SHA-256 of the version's artifact, and of its ``features.sql``.
    shards : int, optional
        Number of shards; by default chosen by the number of rows.
    try_number : int
        See `AttemptKey`.
    source_digest : str, optional
        The digest of the validated rows.
    unknown_categories : sequence of UnknownCategories, optional
        Of the validated rows.

    Raises
    ------
    PartitionOverlapError
        When the score table has partitions of another length there.
    FencedError, DatabaseError
        See `acquire_attempt`.
    """
    with database_errors(f"the score table of model '{spec.name}'"):
        ensure_score_table(engine, spec)
    shards = shards or shards_for(rows, spec.scoring.shard_rows)
    with acquire_attempt(engine, AttemptKey(spec.name, period.start, run_id, "plan", try_number=try_number)) as attempt:
        check_fits(attempt.connection, spec, period)
        drop_replaced(attempt)
        if shards > 1:
            # The staged shards become partitions of this table by the hash of their key, and it becomes the
            # published partition. Until then it only determines which row belongs to which shard.
            with attempt.connection.transaction():
                attempt.lock()
                attempt.connection.execute(
                    f'CREATE TABLE {STAGING}."{attempt.table}" (LIKE scores."{spec.name}" INCLUDING COMMENTS, '
                    "PRIMARY KEY (entity_key, partition_start)) PARTITION BY HASH (entity_key)"
                )
        return ScorePlan(
            model=spec.name,
            period=period,
            run_id=run_id,
            attempt=attempt.number,
            version=version,
            artifact_digest=artifact_digest,
            query_digest=query_digest,
            mode=mode,
            rows=rows,
            shards=shards,
            source_digest=source_digest,
            unknown_categories=tuple(unknown_categories),
        )


def shards_for(rows: int, shard_rows: int) -> int:
    """Return the number of shards for `rows` rows, with about `shard_rows` rows in each at most: from 1 to 64."""
    return min(max(-(-rows // shard_rows), 1), MAX_SHARDS)


def shard_of(plan: ScorePlan, shard: int) -> Shard | None:
    """Return the shard with this number; None when it is the only one."""
    if plan.shards == 1:
        return None
    table = f'{STAGING}."{staging_name(plan.model, plan.period.start, plan.attempt)}"'
    return Shard(table=table, count=plan.shards, number=shard)


def check_fits(connection: Connection, spec: ModelSpec, period: Period) -> None:
    """Check that the score table has either exactly this partition in its period, or none.

    Raises
    ------
    PartitionOverlapError
        The message names the existing partition.
    """
    parameters = {"table": f'scores."{spec.name}"', "start": period.start, "end": period.end}
    row = connection.execute(_OVERLAPPING, parameters).fetchone()
    if row is not None:
        found = Period(start=row[0], end=row[1])
        raise PartitionOverlapError(
            f'scores."{spec.name}": expected no other partition in {period}, which is to be scored; found {found}. '
            "The score schedule was changed, or that partition is a mistake: partitions must not overlap. Keep the "
            "former schedule, score only times that no published partition covers, give the model a new name, or "
            f"remove it: `sluice drop-partition {spec.name} --partition {as_argument(found.start)} --reason ...`."
        )
