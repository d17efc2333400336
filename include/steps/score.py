"""The steps of a score: one partition, published as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include import scoring
from include.records import Alert, PublishedPartition, ScorePlan, StagedShard, ValidationReport, as_argument
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.online_parity import require_online_parity
from include.steps.versions import NOT_SCORED, open_version, require_declared


def plan_partition(
    spec: ModelSpec,
    report: ValidationReport,
    run_id: str,
    resources: Resources,
    shards: int | None = None,
    try_number: int = 1,
) -> ScorePlan:
    """Choose the number of shards in which the version of the validation scores the validated partition.

    The newest plan of a partition is valid; work on an older one fails with FencedError.

    Parameters
    ----------
    report : ValidationReport
        Of the partition. A promotion since then does not matter: the rows were checked for this version.
    shards : int, optional
        Number of shards, from 1 to 64; by default chosen by the number of rows.
    try_number : int
        The number of the task's try, from 1. An earlier try that resumes after a later one began is fenced.

    Raises
    ------
    VersionIncompatibleError
        When the version does not fit the declaration any more.
    PartitionOverlapError
        When the period overlaps published partitions of another length.
    ScoreTableError
        When the score table does not fit the declaration.
    """
    assert report.version is not None  # noqa: S101  # the report of a partition has both
    assert report.mode is not None  # noqa: S101
    with scoring.database_errors(f"the version that scores model '{spec.name}'"):
        registered = resources.ledger.version(spec.name, report.version)
    opened = open_version(spec.name, registered.version, resources, registered.artifact_digest)
    require_declared(spec, opened, NOT_SCORED)
    with resources.telemetry.step(spec.name, "plan"):
        plan = scoring.plan(
            resources.engine,
            spec,
            report.period,
            rows=report.rows,
            run_id=run_id,
            version=registered.version,
            artifact_digest=registered.artifact_digest,
            query_digest=opened.query.digest,
            mode=report.mode,
            shards=shards,
            try_number=try_number,
            source_digest=report.source_digest,
            unknown_categories=report.unknown_categories,
        )
    return plan.model_copy(update={"spec_digest": report.spec_digest})


def score_shard(spec: ModelSpec, plan: ScorePlan, shard: int, resources: Resources, try_number: int = 1) -> StagedShard:
    """Score one shard of the plan into a staging table, with the version of the plan and by its own query.

    Raises
    ------
    VersionIncompatibleError
        When the version does not fit the declaration any more.
    ReconciliationError, FencedError, DatabaseError
        See `scoring.stage_shard`.
    ArtifactError
        When the version's artifact does not match the ledger.
    """
    opened = open_version(plan.model, plan.version, resources, plan.artifact_digest)
    require_declared(spec, opened, NOT_SCORED)
    part = scoring.shard_of(plan, shard)
    with resources.telemetry.step(spec.name, "score"):
        staged = scoring.stage_shard(
            resources.engine,
            spec,
            plan,
            shard,
            lambda: resources.features.read(opened.query, plan.period, labelled=False, shard=part),
            opened.scorer,
            try_number,
            resources.progress,
        )
    for stage in ("read", "predict", "write", "key"):
        resources.telemetry.seconds(f"{spec.name}.score.{stage}.seconds", getattr(staged, f"{stage}_seconds"))
    return staged


def publish_partition(
    spec: ModelSpec, plan: ScorePlan, staged: Sequence[StagedShard], resources: Resources, try_number: int = 1
) -> PublishedPartition:
    """Reconcile the shards and publish them: all of them or, with an error, none.

    Raises
    ------
    ReconciliationError, ScoreBoundsError, FencedError, DatabaseError
        See `scoring.publish`; the former rows stay readable.
    ParityMismatchError, ParityNotCheckedError
        When the declaration requires parity, and the running service returns other predictions or none.
    """
    if spec.scoring.parity == "block":
        require_online_parity(spec, plan, staged, resources)
    with resources.telemetry.step(spec.name, "publish"):
        published = scoring.publish(resources.engine, spec, plan, staged, try_number)
    resources.telemetry.count(f"{spec.name}.score.rows", published.row_count)
    for each in published.unknown_categories or ():
        resources.telemetry.count(f"{spec.name}.score.unknown_categories.{each.feature}", each.rows)
    warnings = published.unknown_over(spec.scoring.max_unknown)
    if warnings:
        resources.alerts.raise_alert_once(_alert(spec, published, warnings, resources.clock()), spec.alert_channels)
    return published


def _alert(spec: ModelSpec, published: PublishedPartition, warnings: Sequence[str], at: datetime) -> Alert:
    return Alert(
        model=spec.name,
        dag_id=f"score_{spec.name}",
        task_id="publish",
        run_id=published.run_id,
        try_number=None,
        error=f"model '{spec.name}', partition {published.partition_start:%Y-%m-%d %H:%M} UTC, which is published: "
        f"{' '.join(warnings)} If the source spells them in another way now, correct it or features.sql, and score the "
        "partition again; if they are new, train a version that knows them. Scoring(max_unknown=...) in spec.py is the "
        "share of rows without a warning.",
        log_url=None,
        at=at,
        kind="unknown_categories",
        subject=as_argument(published.partition_start),
    )


def abandon_partition(plan: ScorePlan, resources: Resources) -> None:
    """Drop the staging tables of a plan that will not be published; the published rows stay as they are.

    Raises
    ------
    FencedError
        When a newer attempt has replaced the plan; that attempt then cleans up.
    """
    scoring.abandon(resources.engine, plan)
