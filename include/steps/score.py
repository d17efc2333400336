"""The steps of a score: one partition, published as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from include import scoring
from include.errors import NoChampionAtTimeError, NoChampionError
from include.inference import load_scorer
from include.records import (
    Period,
    PublishedPartition,
    ScoreMode,
    ScorePlan,
    StagedShard,
    ValidationReport,
)
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.online_parity import require_online_parity


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
    """Choose the version that scores the validated partition, and the number of shards.

    The newest plan of a partition is valid; work on an older one fails with FencedError.

    Parameters
    ----------
    version : int, optional
        The version that scores; `mode` is then ``named``.
    mode : {"champion", "champion_then", "named"}
        The present champion, or the champion at the end of the partition.
    shards : int, optional
        Number of shards, from 1 to 64; by default chosen by the number of rows.
    try_number : int
        The number of the task's try, from 1. An earlier try that resumes after a later one began is fenced.

    Raises
    ------
    NoChampionError
        When no version is named and the model has no champion, or had none at that time (NoChampionAtTimeError).
    UnknownVersionError
        When the named version does not exist.
    PartitionOverlapError
        When the period overlaps published partitions of another length.
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


def resolve_version(
    spec: ModelSpec, period: Period, resources: Resources, *, version: int | None = None, mode: ScoreMode = "champion"
) -> tuple[int, ScoreMode]:
    """Return the version that scores `period`, and how it was chosen, which the ledger records.

    Parameters
    ----------
    version : int, optional
        A named version; then `mode` does not matter.
    mode : {"champion", "champion_then"}
        The present champion, or the champion at the end of the partition; a promotion at exactly that moment counts.

    Raises
    ------
    UnknownVersionError
        When the named version was never registered.
    NoChampionError
        When there is no champion; `NoChampionAtTimeError` when there was none yet. A later version may have been
        trained on the rows of that time, so it scores them only when it is named.
    """
    ledger = resources.ledger
    if version is not None:
        return ledger.version(spec.name, version).version, "named"
    champion = ledger.champion(spec.name)
    if champion is None:
        raise NoChampionError(spec.name)
    if mode == "champion":
        return champion.to_version, "champion"
    then = ledger.champion_at(spec.name, period.end)
    if then is None:
        first = ledger.promotions(spec.name)[0]
        raise NoChampionAtTimeError(spec.name, str(period), first.to_version, first.promoted_at)
    return then.to_version, "champion_then"


def score_shard(spec: ModelSpec, plan: ScorePlan, shard: int, resources: Resources, try_number: int = 1) -> StagedShard:
    """Score one shard of the plan into a staging table, with the version of the plan.

    Raises
    ------
    ReconciliationError, FencedError, DatabaseError
        See `scoring.stage_shard`.
    ArtifactError
        When the version's artifact does not match the ledger.
    """
    scorer = load_scorer(resources.artifacts.open(plan.model, plan.version, plan.artifact_digest))
    part = scoring.shard_of(plan, shard)
    with resources.telemetry.step(spec.name, "score"):
        staged = scoring.stage_shard(
            resources.engine,
            spec,
            plan,
            shard,
            lambda: resources.features.read(spec, plan.period, labelled=False, shard=part),
            scorer,
            try_number,
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
    return published


def abandon_partition(plan: ScorePlan, resources: Resources) -> None:
    """Drop the staging tables of a plan that will not be published; the published rows stay as they are.

    Raises
    ------
    FencedError
        When a newer attempt has replaced the plan; that attempt then cleans up.
    """
    scoring.abandon(resources.engine, plan)
