"""The plan of a change: what an edit of a declaration means for the versions, scores and readers of the model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from include import changes, scoring, validation
from include.errors import QueryError, ScoreTableError, SourceQueryError
from include.evidence import read_pack
from include.inference import declaration_differences
from include.records import (
    ChangePlan,
    DeclarationChange,
    PartitionSpan,
    Promotion,
    PublishedPartition,
    RowComparison,
    TouchedVersion,
)
from include.registry import EVIDENCE, assigned_shadow, standing_champions
from include.resources import Resources
from include.schedule import is_partition
from include.spec import ModelSpec, Scoring
from include.steps.versions import OpenedVersion, open_version


def plan_changes(spec: ModelSpec, resources: Resources) -> ChangePlan:
    """Compare a declaration with that of the champion, and say what the differences mean. Nothing is changed.

    Raises
    ------
    ArtifactError, SignatureError
        When the artifact of a version in use is not what was registered.
    DatabaseError
        When the database does not answer.
    """
    with scoring.database_errors(f"plan of the changes of model '{spec.name}'"):
        obstacles = _training_obstacles(spec, resources)
        champion = resources.ledger.champion(spec.name)
        if champion is None:
            return ChangePlan(model=spec.name, version=None, obstacles=obstacles)
        opened = open_version(spec.name, champion.to_version, resources)
        former = _former_declaration(opened)
        differences = changes.compare(former, spec)
        production = _production(spec, opened, former, resources, comparable=not obstacles)
        found = changes.classify(production, differences)
        return ChangePlan(
            model=spec.name,
            version=opened.version,
            changes=found,
            versions=tuple(_touched_versions(spec, champion, opened, resources)),
            obstacles=obstacles,
            warnings=tuple(_warnings(production, found)),
            rows=production.rows,
            partitions=_touched_partitions(production, found),
            relations=_touched_relations(production, found),
            dags=changes.dag_changes(spec.name, differences),
        )


def _training_obstacles(spec: ModelSpec, resources: Resources) -> tuple[str, ...]:
    """Return why the declared query gives no rows to train on; it is planned by the database, and reads no rows."""
    query = spec.query
    try:
        return validation.column_differences(query, resources.features.columns(query), "train")
    except SourceQueryError as error:
        return (f"its features.sql does not run: {error.found}",)


def _former_declaration(opened: OpenedVersion) -> changes.FormerDeclaration:
    kept = read_pack(opened.artifact.read(EVIDENCE)).declaration
    known = kept.model_dump(
        mode="json", include={"task", "description", "owner", "source", "features", "seed", "parity_tolerance"}
    )
    return changes.former_declaration(kept.values, known, kept.code, opened.query, opened.signature)


def _production(
    spec: ModelSpec,
    opened: OpenedVersion,
    former: changes.FormerDeclaration,
    resources: Resources,
    *,
    comparable: bool,
) -> changes.Production:
    published = resources.ledger.published_partitions(spec.name)
    return changes.Production(
        former=former,
        spec=spec,
        version=opened.version,
        obstacles=declaration_differences(opened.signature, opened.query, spec),
        published=published,
        off_schedule=_off_schedule(spec, former, published),
        expiring=_expiring(spec, former, resources),
        table_error=_table_error(spec, resources),
        rows=_compare_rows(spec, opened, published, resources) if comparable and published else None,
    )


def _off_schedule(
    spec: ModelSpec, former: changes.FormerDeclaration, published: Sequence[PublishedPartition]
) -> tuple[PublishedPartition, ...]:
    if not former.complete:
        return ()
    schedule, timezone = former.values["score_schedule"], former.values["score_timezone"]
    return tuple(
        each
        for each in published
        if is_partition(schedule, each.period, timezone=timezone)
        and not is_partition(spec.score_schedule, each.period, timezone=spec.score_timezone)
    )


def _expiring(
    spec: ModelSpec, former: changes.FormerDeclaration, resources: Resources
) -> tuple[PublishedPartition, ...]:
    """Return the partitions that the present retention removes, and the former one kept."""
    if not former.complete:
        return ()
    before = Scoring.model_validate_json(json.dumps(former.values["scoring"]))
    if (before.retention, before.retain_latest) == (spec.scoring.retention, spec.scoring.retain_latest):
        return ()
    now = resources.clock()
    gone = scoring.expired_partitions(resources.engine, spec.model_copy(update={"scoring": before}), now)
    return tuple(each for each in scoring.expired_partitions(resources.engine, spec, now) if each not in gone)


def _table_error(spec: ModelSpec, resources: Resources) -> str | None:
    try:
        scoring.check_score_table(resources.engine, spec)
    except ScoreTableError as error:
        return str(error)
    return None


def _compare_rows(
    spec: ModelSpec, opened: OpenedVersion, published: Sequence[PublishedPartition], resources: Resources
) -> RowComparison | None:
    """Compare the keys of the newest published partition, by both queries; None where both select the same rows."""
    query = spec.query
    if opened.query.reads_as(query) and opened.query.entity_key.column == query.entity_key.column:
        return None
    try:
        found = resources.features.compare_keys(opened.query, query, published[-1].period)
    except QueryError:
        return None  # one of the two does not run on the source of today
    return RowComparison(
        partition_start=published[-1].partition_start,
        before=found.rows,
        after=found.other_rows,
        only_before=found.only,
        only_after=found.only_other,
    )


def _touched_versions(
    spec: ModelSpec, champion: Promotion, opened: OpenedVersion, resources: Resources
) -> Iterator[TouchedVersion]:
    promotions = resources.ledger.promotions(spec.name)
    standing = standing_champions(each.to_version for each in promotions)
    yield _touched(spec, opened, "champion")
    challenger = assigned_shadow(resources.engine, spec.name)
    if challenger is not None and challenger != champion.to_version:
        yield _touched(spec, open_version(spec.name, challenger, resources), "challenger")
    if len(standing) > 1:  # as `sluice rollback` goes back
        yield _touched(spec, open_version(spec.name, standing[-2], resources), "rollback")
    newest = resources.ledger.version(spec.name, resources.ledger.version_numbers(spec.name)[-1])
    if newest.decision.accepted and all(each.to_version != newest.version for each in promotions):
        void = spec.approval is not None and newest.spec_digest != spec.digest
        why = ("its approval is void: the declaration has changed since it was evaluated",) if void else ()
        touched = _touched(spec, open_version(spec.name, newest.version, resources), "candidate")
        yield touched.model_copy(update={"obstacles": (*touched.obstacles, *why)})


def _touched(spec: ModelSpec, opened: OpenedVersion, role: str) -> TouchedVersion:
    found = declaration_differences(opened.signature, opened.query, spec)
    return TouchedVersion.model_validate({"version": opened.version, "role": role, "obstacles": found})


def _warnings(production: changes.Production, found: Sequence[DeclarationChange]) -> Iterator[str]:
    spec, changed = production.spec, {each.field for each in found}
    if not production.former.complete:
        yield (
            f"version {production.version} was registered before versions kept their whole declaration: only the task, "
            "the features, the keys, the query, the seed and the tolerance of parity were compared"
        )
    if "contract.partition_rows" in changed and production.published:
        fewest, most = spec.contract.partition_rows
        rows = production.published[-1].row_count
        if not fewest <= rows <= most:
            yield (
                f"the newest published partition has {rows:,} rows, and the contract takes {fewest:,} to {most:,}: a "
                "score of such a partition is refused"
            )
    if "approval" in changed and spec.approval is None:
        yield (
            f"model '{spec.name}' keeps needing approvals until an operator waives them: see docs/how-to/approval.md"
        )


def _touched_partitions(production: changes.Production, found: Sequence[DeclarationChange]) -> PartitionSpan | None:
    """Return the published partitions that are touched: those that a rule names, or all."""
    by_field = {
        "scoring.retention": production.expiring,
        "scoring.retain_latest": production.expiring,
        "score_schedule": production.off_schedule,
        "score_timezone": production.off_schedule,
    }
    touched = {
        each.partition_start
        for change in found
        if set(change.classes) & {"needs_backfill", "breaks_readers"}
        for each in by_field.get(change.field, production.published)
    }
    return PartitionSpan(count=len(touched), first=min(touched), last=max(touched)) if touched else None


def _touched_relations(production: changes.Production, found: Sequence[DeclarationChange]) -> tuple[str, ...]:
    name = production.spec.name
    if not production.published or not {each for change in found for each in change.classes} & {
        "needs_backfill",
        "breaks_readers",
    }:
        return ()
    return (f"scores.{name}", f"scores.{name}_latest")
