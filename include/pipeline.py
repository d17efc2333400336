"""READ FIRST: the life of a model, one function a step, in the order of the flow.

    retrain   validate_training_data → take_snapshot → train_candidate → export_candidate → check_parity
              → evaluate_candidate → weigh_candidate → promote_candidate
    score     validate_partition → score_partition
    operate   move_champion

Each step takes records and returns a record: paths, digests and figures, never rows. So a step can
be run again by itself, in another process, and a DAG only wires them. This module alone composes the
stages; no stage knows another.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from include import evaluation, scoring, training, validation
from include.errors import CandidateRejectedError, NoChampionError, ValidationFailedError
from include.inference import load_scorer
from include.provenance import code_digest, library_versions
from include.records import (
    Evaluation,
    ExportedCandidate,
    FittedCandidate,
    ModelVersion,
    Period,
    Promotion,
    PublishedPartition,
    Purpose,
    SnapshotRef,
    ValidationReport,
)
from include.registry import Manifest
from include.resources import Resources, open_resources
from include.spec import ModelSpec
from include.warehouse.rows import open_rows, rows_query

__all__ = ["Resources", "open_resources"]


# -- retrain ---------------------------------------------------------------------------------------


def validate_training_data(spec: ModelSpec, run_id: str, as_of: datetime, resources: Resources) -> ValidationReport:
    """Hold the training window against the model's data contract; ValidationFailedError stops the run."""
    return _validate(spec, training.split_of(spec, as_of).whole, "train", run_id, resources)


def take_snapshot(spec: ModelSpec, as_of: datetime, resources: Resources) -> SnapshotRef:
    """Freeze the labelled rows of the training window in a file named by its digest."""
    split = training.split_of(spec, as_of)
    query = rows_query(spec, split.whole, labelled=True)
    folder = resources.settings.home / "snapshots" / spec.name
    with resources.telemetry.step(spec.name, "snapshot"), open_rows(resources.database_url, query) as rows:
        return training.write_snapshot(rows, spec, split, folder)


def train_candidate(spec: ModelSpec, run_id: str, snapshot: SnapshotRef, resources: Resources) -> FittedCandidate:
    """Fit the declared estimator and a simple baseline on the training part of the snapshot."""
    resources.telemetry.gauge(f"{spec.name}.train.rows", snapshot.train_rows)
    with resources.telemetry.step(spec.name, "train"):
        return training.fit_candidate(spec, run_id, snapshot, _run_folder(spec, run_id, resources))


def export_candidate(spec: ModelSpec, fitted: FittedCandidate, resources: Resources) -> ExportedCandidate:
    """Convert the candidate to ONNX and measure how faithfully it answers; ConversionError names a step that won't."""
    with resources.telemetry.step(spec.name, "export"):
        return training.export_candidate(spec, fitted)


def check_parity(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> ExportedCandidate:
    """Let an export through only if it answers as scikit-learn does; ConversionError names where the two part."""
    with resources.telemetry.step(spec.name, "parity"):
        training.require_parity(spec, exported)
    return exported


def evaluate_candidate(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Evaluation:
    """Measure candidate, champion and baseline on the same holdout rows.

    Candidate and champion answer through their artifacts, as they do in production.
    """
    fitted = exported.fitted
    champion = resources.ledger.champion(spec.name)
    with resources.telemetry.step(spec.name, "evaluate"):
        data = training.read_training_data(spec, fitted.snapshot)
        scorers = {"candidate": load_scorer(Path(fitted.folder))}
        if champion is not None:
            registered = resources.ledger.version(spec.name, champion.to_version)
            folder = resources.artifacts.verified(spec.name, registered.version, registered.artifact_digest)
            scorers["champion"] = load_scorer(folder)
        return evaluation.evaluate(
            spec,
            data.holdout,
            data.y_holdout,
            scorers,
            baseline_scores=training.expected_scores(training.read_baseline(fitted), data.x_holdout),
            champion=champion,
        )


def weigh_candidate(
    spec: ModelSpec, exported: ExportedCandidate, compared: Evaluation, resources: Resources
) -> ModelVersion:
    """Decide by the gates, and register the candidate with the decision, accepted or rejected.

    A run registers once: weighed again, it returns the version that it registered before.
    """
    fitted = exported.fitted
    decision = evaluation.decide(compared, spec.gates)
    resources.telemetry.count(f"{spec.name}.verdict.{'accepted' if decision.accepted else 'rejected'}")
    manifest = Manifest(
        model=spec.name,
        files=exported.digests,
        spec_digest=spec.digest,
        data_digest=fitted.snapshot.digest,
        code_digest=code_digest(),
        libraries=library_versions(),
        created_at=resources.clock(),
    )
    return resources.ledger.register(
        manifest,
        fitted.run_id,
        compared,
        decision,
        save_artifact=lambda version: resources.artifacts.save(Path(fitted.folder), manifest, version),
    )


def promote_candidate(spec: ModelSpec, version: ModelVersion, actor: str, resources: Resources) -> Promotion:
    """Make an accepted version the champion, if the champion is still the one it was compared with.

    Promoting what is champion already returns that promotion, so a retry changes nothing.

    Raises
    ------
    CandidateRejectedError
        When a gate said no.
    LostRaceError
        When the champion moved since the evaluation.
    """
    if not version.decision.accepted:
        raise CandidateRejectedError(spec.name, version.version, version.decision.reasons)
    reason = f"passed {len(version.decision.gates)} gates"
    return _promote(spec.name, version, actor, reason, version.evaluation.champion_fence, resources)


# -- score -----------------------------------------------------------------------------------------


def validate_partition(spec: ModelSpec, run_id: str, period: Period, resources: Resources) -> ValidationReport:
    """Hold one partition's rows against the model's data contract; ValidationFailedError stops the run."""
    return _validate(spec, period, "score", run_id, resources)


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
    folder = resources.artifacts.verified(spec.name, version, registered.artifact_digest)
    scorer = load_scorer(folder)
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


# -- operate ---------------------------------------------------------------------------------------


def move_champion(model: str, version: int, actor: str, reason: str, resources: Resources) -> Promotion:
    """Promote, or roll back to, any registered version: a person's decision, with a reason.

    UnknownVersionError lists the versions that exist; LostRaceError names who moved the champion first.
    """
    registered = resources.ledger.version(model, version)
    champion = resources.ledger.champion(model)
    return _promote(model, registered, actor, reason, champion.fence if champion else 0, resources)


# -- shared by the steps above ---------------------------------------------------------------------


def _validate(spec: ModelSpec, period: Period, purpose: Purpose, run_id: str, resources: Resources) -> ValidationReport:
    with resources.telemetry.step(spec.name, f"validate_{purpose}"):
        report = validation.validate(
            spec,
            period,
            purpose=purpose,
            run_id=run_id,
            database_url=resources.database_url,
            docs_dir=resources.settings.docs_dir,
        )
        validation.store_report(resources.engine, report)
        if not report.passed:
            reasons = [failure.sentence for failure in report.failures]
            raise ValidationFailedError(spec.name, str(period), reasons, report.docs_path)
    return report


def _promote(
    model: str, version: ModelVersion, actor: str, reason: str, expected_fence: int, resources: Resources
) -> Promotion:
    champion = resources.ledger.champion(model)
    if champion is not None and champion.to_version == version.version:
        return champion
    promotion = resources.ledger.promote(
        model,
        version.version,
        actor=actor,
        reason=reason,
        evidence_digest=version.evidence_digest,
        expected_fence=expected_fence,
    )
    resources.telemetry.count(f"{model}.promotions")
    return promotion


def _run_folder(spec: ModelSpec, run_id: str, resources: Resources) -> Path:
    """Return where a run keeps what passes between its tasks; a digest, because run ids hold any character."""
    return resources.settings.work_dir / spec.name / hashlib.sha256(run_id.encode()).hexdigest()[:16]
