"""The steps of a retrain, from the snapshot to the promotion."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime
from pathlib import Path

from include import evaluation, training
from include.errors import CandidateRejectedError, DeclarationChangedError, NothingNewError
from include.reasons import check_reason
from include.records import (
    Evaluation,
    ExportedCandidate,
    FittedCandidate,
    ModelVersion,
    Promotion,
    Rehearsal,
    SnapshotRef,
    ValidationReport,
)
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.approval import check_declaration
from include.steps.declaration import NOT_REGISTERED, check_pinned
from include.steps.evaluate import gather_evidence
from include.steps.operate import promote
from include.steps.register import origin_of, register_candidate

log = logging.getLogger(__name__)


def take_snapshot(
    spec: ModelSpec,
    as_of: datetime,
    resources: Resources,
    report: ValidationReport | None = None,
    run_id: str | None = None,
    *,
    again: bool = False,
) -> SnapshotRef:
    """Write the labelled rows of the training window to a file named by its digest.

    Parameters
    ----------
    report : ValidationReport, optional
        Of the window; it names the declaration that the run began with.
    run_id : str, optional
        The run. A version that it has registered itself does not end it.
    again : bool
        Whether to go on although a version of this origin is registered.

    Raises
    ------
    NothingNewError
        When another run has registered a version of the same rows, declaration, code and libraries, and it is not one
        that this run may still promote.
    DeclarationChangedError
        When spec.py or features.sql was changed while the rows were read.
    """
    split = training.split_by_time(spec, as_of)
    folder = resources.settings.home / "snapshots" / spec.name
    query, digest = spec.query, spec.digest
    with (
        resources.telemetry.step(spec.name, "snapshot"),
        resources.features.read(query, split.whole, labelled=True) as rows,
    ):
        snapshot = training.write_snapshot(rows, spec, split, folder, query, resources.progress)
    snapshot = snapshot.model_copy(update={"spec_digest": digest})
    check_pinned(spec, (report, snapshot))
    if query != spec.query:
        raise DeclarationChangedError(spec.name, NOT_REGISTERED)
    if not again:
        known = resources.ledger.version_of_origin(spec.name, origin_of(snapshot))
        if known is not None and known.run_id != run_id and not can_be_promoted(known, resources):
            raise nothing_new(known, resources)
    return snapshot


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
    *,
    again: bool = False,
) -> ModelVersion:
    """Decide by the gates, and register the candidate with the decision, accepted or rejected.

    A run registers once: called again, this returns the version that was registered before. A version of the same
    origin that another run has registered and not promoted, as when it was killed, is returned, too. The person who
    triggered the run (`requested_by`; None: its schedule) may not approve it later.

    Parameters
    ----------
    again : bool
        Whether to register it although a version of this origin is registered.

    Raises
    ------
    DeclarationChangedError
        When spec.py or features.sql is not what it was when the run read its rows: each task reads them again, so the
        version would be of two declarations, and registered as one of the second.
    NothingNewError
        When another run has registered a version of the same origin since the snapshot.
    """
    check_pinned(spec, (exported,))
    evidence = gather_evidence(spec, compared, rehearsal, resources, exported.reproducibility)
    decision = evaluation.decide(evidence, spec.policy)
    resources.telemetry.count(f"{spec.name}.verdict.{'accepted' if decision.accepted else 'rejected'}")
    registered = register_candidate(spec, exported, compared, decision, rehearsal, resources, requested_by, again=again)
    if registered.run_id != exported.fitted.run_id:
        if not can_be_promoted(registered, resources):
            raise nothing_new(registered, resources)
        log.info(
            "nothing new: version %d of %s (run %s) was made from the same rows, declaration, code and libraries; this "
            "run goes on with it",
            registered.version,
            registered.model,
            registered.run_id,
        )
    return registered


def can_be_promoted(known: ModelVersion, resources: Resources) -> bool:
    """Return whether a retrain may still promote a version that another one has registered.

    The gates accepted it, nobody has to approve it, it was never champion, and the champion is still the one that it
    was compared with.
    """
    promotions = resources.ledger.promotions(known.model)
    compared_with = promotions[-1].sequence if promotions else 0
    return (
        known.decision.accepted
        and not known.needs_approval
        and known.evaluation.champion_sequence == compared_with
        and all(each.to_version != known.version for each in promotions)
    )


def nothing_new(known: ModelVersion, resources: Resources) -> NothingNewError:
    """Return the error that ends a retrain whose origin has the version `known`; it says what became of that one."""
    model, number = known.model, known.version
    moved = [each.to_version for each in resources.ledger.promotions(model)]
    if moved and moved[-1] == number:
        standing = "It is the champion."
    elif not known.decision.accepted:
        standing = f"Gates rejected it: `sluice versions {model}` has the reasons. The champion stays."
    elif number in moved:
        standing = (
            "It was champion before. The champion stays. To make it champion again: "
            f"`sluice promote {model} {number} --reason ...`."
        )
    elif known.needs_approval:
        standing = (
            "It needs another person's approval. The champion stays. To approve it: "
            f"`sluice approve {model} {number} --comment ...`."
        )
    else:
        standing = (
            "The gates accepted it, and it was compared with a former champion. The champion stays. To promote it: "
            f"`sluice promote {model} {number} --reason ...`."
        )
    return NothingNewError(model, number, known.run_id, standing)


def promote_candidate(
    spec: ModelSpec, version: ModelVersion, actor: str, resources: Resources, allow_older: str | None = None
) -> Promotion:
    """Make an accepted version the champion, if the champion is still the one that it was compared with.

    If the version is already champion, this returns its promotion, so a retry changes nothing.

    Parameters
    ----------
    allow_older : str, optional
        Why the version may replace a champion whose data end later; the ledger keeps it. None: it may not.

    Raises
    ------
    CandidateRejectedError
        When a gate rejected it.
    ApprovalVoidError
        When the model needs approvals, and its declaration changed since.
    DeclarationChangedError
        When spec.py or features.sql changed since, of a model that needs no approvals.
    PromotionHeldError
        When somebody holds the promotions of the model.
    OlderDataError
        When its data end before those of the champion, without `allow_older`.
    ReasonError
        When `allow_older` is too short a reason.
    PromotionConflictError
        When the champion changed since the evaluation.
    ArtifactError, SignatureError
        When the artifact is not what was registered.
    """
    if not version.decision.accepted:
        raise CandidateRejectedError(spec.name, version.version, version.decision.failures)
    if spec.approval is not None:
        check_declaration(spec, version)
    check_pinned(spec, (version,))
    reason = f"passed {len(version.decision.gates)} gates"
    if allow_older is not None:
        reason += f"; its data may end before those of the champion: {check_reason(allow_older, '--allow-older')}"
    champion = resources.ledger.champion(spec.name)
    sequence = version.evaluation.champion_sequence
    older = allow_older is not None
    return promote(version, champion, sequence, actor, reason, resources, spec, allow_older=older)


def _backend(resources: Resources) -> training.Backend:
    settings = resources.settings
    return training.Backend(settings.train_backend, settings.train_cluster_address, settings.train_n_jobs)


def _run_folder(spec: ModelSpec, run_id: str, resources: Resources) -> Path:
    """Return the folder for files that pass between a run's tasks; a digest, because run ids hold any character."""
    return resources.settings.work_dir / spec.name / hashlib.sha256(run_id.encode()).hexdigest()[:16]
