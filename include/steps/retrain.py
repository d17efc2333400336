"""The steps of a retrain, from the snapshot to the promotion."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from include import evaluation, training
from include.errors import CandidateRejectedError, DeclarationChangedError
from include.records import (
    Evaluation,
    ExportedCandidate,
    FittedCandidate,
    ModelVersion,
    Promotion,
    Rehearsal,
    SnapshotRef,
)
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.approval import check_declaration
from include.steps.evaluate import gather_evidence
from include.steps.operate import promote
from include.steps.register import register_candidate


def take_snapshot(spec: ModelSpec, as_of: datetime, resources: Resources) -> SnapshotRef:
    """Write the labelled rows of the training window to a file named by its digest."""
    split = training.split_by_time(spec, as_of)
    folder = resources.settings.home / "snapshots" / spec.name
    query, digest = spec.query, spec.digest
    with (
        resources.telemetry.step(spec.name, "snapshot"),
        resources.features.read(query, split.whole, labelled=True) as rows,
    ):
        snapshot = training.write_snapshot(rows, spec, split, folder, query, resources.progress)
    return snapshot.model_copy(update={"spec_digest": digest})


def train_candidate(spec: ModelSpec, run_id: str, snapshot: SnapshotRef, resources: Resources) -> FittedCandidate:
    """Fit the declared estimator and a simple baseline on the training part of the snapshot."""
    settings = resources.settings
    training.require_budget(spec, snapshot.train_rows + snapshot.holdout_rows, settings.train_memory_mib)
    resources.telemetry.gauge(f"{spec.name}.train.rows", snapshot.train_rows)
    with resources.telemetry.step(spec.name, "train"):
        folder = _run_folder(spec, run_id, resources)
        return training.fit_candidate(spec, run_id, snapshot, folder, _backend(resources), resources.progress)


def export_candidate(spec: ModelSpec, fitted: FittedCandidate, resources: Resources) -> ExportedCandidate:
    """Convert the candidate to ONNX and measure its parity; ConversionError names a step that cannot be converted."""
    with resources.telemetry.step(spec.name, "export"):
        return training.export_candidate(spec, fitted)


def check_parity(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> ExportedCandidate:
    """Check that ONNX predicts as scikit-learn does; ConversionError names the step where they differ."""
    with resources.telemetry.step(spec.name, "parity"):
        training.require_parity(spec, exported)
    return exported


def check_reproducibility(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> ExportedCandidate:
    """Train a second time from the snapshot, and record whether the bytes are the same."""
    with resources.telemetry.step(spec.name, "reproduce"):
        again = training.train_again(
            spec, exported.fitted.snapshot, exported.digests["model.onnx"], _backend(resources), resources.progress
        )
    return exported.model_copy(update={"reproducibility": again})


def evaluate_gates(
    spec: ModelSpec,
    exported: ExportedCandidate,
    compared: Evaluation,
    rehearsal: Rehearsal | None,
    resources: Resources,
    requested_by: str | None = None,
) -> ModelVersion:
    """Decide by the gates, and register the candidate with the decision, accepted or rejected.

    A run registers once: called again, this returns the version that was registered before. The person who triggered
    the run (`requested_by`; None: its schedule) may not approve it later.

    Raises
    ------
    DeclarationChangedError
        When spec.py or features.sql is not what it was when the run read its rows: each task reads them again, so the
        version would be of two declarations, and registered as one of the second.
    """
    if exported.fitted.snapshot.spec_digest not in ("", spec.digest):
        raise DeclarationChangedError(spec.name)
    evidence = gather_evidence(spec, compared, rehearsal, resources, exported.reproducibility)
    decision = evaluation.decide(evidence, spec.policy)
    resources.telemetry.count(f"{spec.name}.verdict.{'accepted' if decision.accepted else 'rejected'}")
    return register_candidate(spec, exported, compared, decision, rehearsal, resources, requested_by)


def promote_candidate(spec: ModelSpec, version: ModelVersion, actor: str, resources: Resources) -> Promotion:
    """Make an accepted version the champion, if the champion is still the one that it was compared with.

    If the version is already champion, this returns its promotion, so a retry changes nothing.

    Raises
    ------
    CandidateRejectedError
        When a gate rejected it.
    ApprovalVoidError
        When the model needs approvals, and its declaration changed since.
    PromotionConflictError
        When the champion changed since the evaluation.
    ArtifactError, SignatureError
        When the artifact is not what was registered.
    """
    if not version.decision.accepted:
        raise CandidateRejectedError(spec.name, version.version, version.decision.failures)
    if spec.approval is not None:
        check_declaration(spec, version)
    reason = f"passed {len(version.decision.gates)} gates"
    champion = resources.ledger.champion(spec.name)
    return promote(version, champion, version.evaluation.champion_sequence, actor, reason, resources, spec)


def _backend(resources: Resources) -> training.Backend:
    settings = resources.settings
    return training.Backend(settings.train_backend, settings.train_cluster_address, settings.train_n_jobs)


def _run_folder(spec: ModelSpec, run_id: str, resources: Resources) -> Path:
    """Return the folder for files that pass between a run's tasks; a digest, because run ids hold any character."""
    return resources.settings.work_dir / spec.name / hashlib.sha256(run_id.encode()).hexdigest()[:16]
