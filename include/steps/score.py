"""The flow that publishes scores: one partition at a time, all of it or none of it."""

from __future__ import annotations

from include import scoring
from include.errors import NoChampionError
from include.inference import load_scorer
from include.records import Period, PublishedPartition, ValidationReport
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.checks import validate
from include.warehouse.rows import open_rows, rows_query


def validate_partition(spec: ModelSpec, run_id: str, period: Period, resources: Resources) -> ValidationReport:
    """Hold one partition's rows against the model's data contract; ValidationFailedError stops the run."""
    return validate(spec, period, "score", run_id, resources)


def score_partition(
    spec: ModelSpec, report: ValidationReport, resources: Resources, version: int | None = None
) -> PublishedPartition:
    """Score the partition that was validated and publish it: all of it or none of it.

    The `report` says which period, and how many rows it must yield: ReconciliationError otherwise.
    The champion scores, unless a `version` is named; NoChampionError when there is neither.
    """
    if version is None:
        champion = resources.ledger.champion(spec.name)
        if champion is None:
            raise NoChampionError(spec.name)
        version = champion.to_version
    registered = resources.ledger.version(spec.name, version)
    scorer = load_scorer(resources.artifacts.verified(spec.name, version, registered.artifact_digest))
    scoring.ensure_score_table(resources.engine, spec)
    scoring.ensure_partition(resources.engine, spec, report.period)
    query = rows_query(spec, report.period, labelled=False)
    with resources.telemetry.step(spec.name, "score"), open_rows(resources.database_url, query) as rows:
        published = scoring.publish(
            resources.engine,
            spec,
            report.period,
            scoring.score_batches(rows, spec, scorer),
            version=version,
            artifact_digest=registered.artifact_digest,
            run_id=report.run_id,
            expected_rows=report.rows,
        )
    resources.telemetry.count(f"{spec.name}.score.rows", published.row_count)
    return published
