"""The flow that publishes scores: one partition at a time, all of it or none of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from include import scoring
from include.errors import SluiceError
from include.inference import load_scorer
from include.records import (
    Period,
    PublishedPartition,
    RemovedPartition,
    ScoreMode,
    ScorePlan,
    StagedShard,
    ValidationReport,
)
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.champions import resolve_version
from include.steps.checks import validate
from include.steps.online_parity import require_online_parity
from include.warehouse.rows import open_rows, rows_query


def validate_partition(spec: ModelSpec, run_id: str, period: Period, resources: Resources) -> ValidationReport:
    """Hold one partition's rows against the model's data contract; ValidationFailedError stops the run."""
    with scoring.database_errors(f"validation of model '{spec.name}', partition {period}"):
        return validate(spec, period, "score", run_id, resources)


def plan_partition(
    spec: ModelSpec,
    report: ValidationReport,
    run_id: str,
    resources: Resources,
    version: int | None = None,
    mode: ScoreMode = "champion",
    shards: int | None = None,
    try_number: int = 1,
) -> ScorePlan:
    """Decide which version scores the partition that was validated, and in how many shards.

    The newest plan of a partition wins: work on an older one ends with FencedError.

    Parameters
    ----------
    version : int, optional
        Who scores; `mode` is then ``named``.
    mode : {"champion", "champion_then", "named"}
        The champion of now, or the one of when the partition ended.
    shards : int, optional
        In how many shards, from 1 to 64; by default as many as the rows ask for.
    try_number : int
        Which try of its task it is, counted from 1: an earlier one that wakes up after a later one began is fenced.

    Raises
    ------
    NoChampionError
        When the model has, or had then (NoChampionAtTimeError), no champion, and no version is named.
    UnknownVersionError
        When the version named does not exist.
    PartitionOverlapError
        When the score table has partitions of another length there.
    """
    with scoring.database_errors(f"the version that scores model '{spec.name}'"):
        version, mode = resolve_version(spec, report.period, resources, version=version, mode=mode)
        registered = resources.ledger.version(spec.name, version)
    with resources.telemetry.step(spec.name, "plan"):
        return scoring.plan(
            resources.engine,
            spec,
            report.period,
            rows=report.rows,
            run_id=run_id,
            version=version,
            artifact_digest=registered.artifact_digest,
            mode=mode,
            shards=shards,
            try_number=try_number,
        )


def score_shard(spec: ModelSpec, plan: ScorePlan, shard: int, resources: Resources, try_number: int = 1) -> StagedShard:
    """Score one shard of the plan into a staging table, with the version of the plan and no other.

    Raises
    ------
    ReconciliationError, FencedError, DatabaseError
        See `scoring.stage_shard`.
    ArtifactError
        When the version's artifact is not what the ledger says.
    """
    scorer = load_scorer(resources.artifacts.open(plan.model, plan.version, plan.artifact_digest))
    query = rows_query(spec, plan.period, labelled=False, only=scoring.shard_condition(spec, plan, shard))
    with resources.telemetry.step(spec.name, "score"):
        staged = scoring.stage_shard(
            resources.engine,
            spec,
            plan,
            shard,
            lambda: open_rows(resources.database_url, query),
            scorer,
            try_number,
        )
    for stage in ("read", "predict", "write", "key"):
        resources.telemetry.seconds(f"{spec.name}.score.{stage}.seconds", getattr(staged, f"{stage}_seconds"))
    return staged


def publish_partition(
    spec: ModelSpec, plan: ScorePlan, staged: Sequence[StagedShard], resources: Resources, try_number: int = 1
) -> PublishedPartition:
    """Reconcile the shards and make them what analysts read: all of them or, with an error, none.

    Raises
    ------
    ReconciliationError, ScoreBoundsError, FencedError, DatabaseError
        See `scoring.publish`; the former rows stay readable.
    ParityMismatchError, ParityNotCheckedError
        When the running service gives other numbers, or none, and the declaration has that block a publication.
    """
    if spec.scoring.parity == "block":
        require_online_parity(spec, plan, staged, resources)
    with resources.telemetry.step(spec.name, "publish"):
        published = scoring.publish(resources.engine, spec, plan, staged, try_number)
    resources.telemetry.count(f"{spec.name}.score.rows", published.row_count)
    return published


def score_partition(
    spec: ModelSpec,
    report: ValidationReport,
    resources: Resources,
    version: int | None = None,
    mode: ScoreMode = "champion",
) -> PublishedPartition:
    """Plan, score and publish in one go, a shard after the other; what fails leaves nothing behind."""
    plan = plan_partition(spec, report, report.run_id, resources, version, mode)
    try:
        staged = [score_shard(spec, plan, shard, resources) for shard in range(plan.shards)]
        return publish_partition(spec, plan, staged, resources)
    except SluiceError:
        with suppress(SluiceError):  # fenced, or the database is gone: then the successor cleans
            scoring.abandon(resources.engine, plan)
        raise


def clean_staging(older_than: timedelta, resources: Resources) -> list[str]:
    """Drop what dead attempts left in schema ``staging``, and what is older than any run may take; return the names."""
    return scoring.clean_staging(resources.engine, older_than)


def drop_expired_partitions(spec: ModelSpec, now: datetime, resources: Resources) -> list[str]:
    """Remove the partitions that are older than the declaration keeps them; return their starts, as ISO 8601.

    The ledger keeps that they were, and why they went; see `scoring.drop_partitions` for what stays nevertheless.
    """
    with resources.telemetry.step(spec.name, "retire"):
        retired = scoring.drop_partitions(resources.engine, spec, now)
    return [each.partition_start.isoformat() for each in retired]


def drop_partition(spec: ModelSpec, period: Period, actor: str, reason: str, resources: Resources) -> RemovedPartition:
    """Remove one published partition, whatever its age: a person's decision, with a reason.

    Raises
    ------
    PartitionInUseError
        When it is still needed, or not published.
    """
    (retired,) = scoring.drop_partitions(
        resources.engine, spec, resources.clock(), only=[period.start], reason=f"{reason} (removed by {actor})"
    )
    return retired
