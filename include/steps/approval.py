"""What a person says of a version that asks for an approval."""

from __future__ import annotations

from typing import Literal

from include.errors import ApprovalVoidError, ApproverNotAllowedError
from include.records import ApprovalDecision, ModelVersion
from include.registry import store_approval
from include.resources import Resources
from include.spec import ModelSpec
from include.warehouse import open_engine

NOBODY = "nobody"


def record_approval(
    spec: ModelSpec,
    shown: ModelVersion,
    decision: Literal["approved", "rejected", "timed out"],
    approver: str,
    requested_by: str | None,
    comment: str,
    resources: Resources,
) -> ApprovalDecision:
    """Store the answer to a request that showed the evidence of a version.

    Parameters
    ----------
    shown : ModelVersion
        The version as it was shown: the answer holds for this evidence and no other.
    requested_by : str or None
        Who triggered the run; None: its schedule.

    Raises
    ------
    ApproverNotAllowedError
        When who approves also triggered, or is not among the declared approvers.
    ApprovalVoidError
        When the declaration or the champion changed, or another version was registered, since the evidence was
        gathered.
    ArtifactError, SignatureError
        When the artifact, of which the evidence is a part, is not what was registered.
    """
    if decision == "approved":
        _check_person(spec, shown, approver, requested_by)
        _check_unchanged(spec, shown, resources)
    return _store(shown, decision, approver, requested_by, comment, resources)


def approve_version(
    spec: ModelSpec, version: int, approver: str, comment: str, resources: Resources
) -> ApprovalDecision:
    """Approve a registered version by hand, as things stand now: another person may then promote it.

    It holds to what an answer in Airflow is held to: the declared approvers, not who triggered the run, and
    evidence that still stands.

    Raises
    ------
    ApproverNotAllowedError
        When who approves also triggered, or is not among the declared approvers.
    ApprovalVoidError
        When the declaration or the champion changed, or another version was registered, since the evidence was
        gathered.
    ArtifactError, SignatureError
        When the artifact, of which the evidence is a part, is not what was registered.
    """
    registered = resources.ledger.version(spec.name, version)
    _check_person(spec, registered, approver, registered.requested_by)
    _check_unchanged(spec, registered, resources)
    return _store(registered, "approved", approver, registered.requested_by, comment, resources)


def _check_person(spec: ModelSpec, shown: ModelVersion, approver: str, requested_by: str | None) -> None:
    if approver in (requested_by, shown.requested_by):
        raise ApproverNotAllowedError(shown.model, shown.version, approver, "who triggered the run may not approve it")
    named = spec.approval.approvers if spec.approval else ()
    if named and approver not in named:
        why = f"the declaration names {', '.join(named)}"
        raise ApproverNotAllowedError(shown.model, shown.version, approver, why)


def check_declaration(spec: ModelSpec, shown: ModelVersion) -> None:
    """Insist that a version was judged by the declaration of now.

    Raises
    ------
    ApprovalVoidError
        When spec.py or features.sql changed since.
    """
    if spec.digest != shown.spec_digest:
        raise ApprovalVoidError(shown.model, shown.version, "the declaration (spec.py or features.sql) changed")


def _check_unchanged(spec: ModelSpec, shown: ModelVersion, resources: Resources) -> None:
    """Hold what was shown against what is; most of it is looked at again when the version is promoted."""
    check_declaration(spec, shown)
    resources.artifacts.open(shown.model, shown.version, shown.artifact_digest)
    champion = resources.ledger.champion(shown.model)
    sequence = champion.sequence if champion else 0
    if sequence != shown.evaluation.champion_sequence:
        why = f"the champion moved (sequence {shown.evaluation.champion_sequence} then, {sequence} now)"
        raise ApprovalVoidError(shown.model, shown.version, why)
    newest = resources.ledger.versions(shown.model)[-1].version
    if newest != shown.version:
        raise ApprovalVoidError(shown.model, shown.version, f"version {newest} was registered")
    if resources.ledger.version(shown.model, shown.version).evidence_digest != shown.evidence_digest:
        raise ApprovalVoidError(shown.model, shown.version, "the evidence changed")


def _store(
    version: ModelVersion,
    decision: Literal["approved", "rejected", "timed out"],
    approver: str,
    requested_by: str | None,
    comment: str,
    resources: Resources,
) -> ApprovalDecision:
    url = resources.settings.approver_database_url
    engine = open_engine(url) if url else resources.engine
    try:
        return store_approval(engine, version, decision, approver=approver, requested_by=requested_by, comment=comment)
    finally:
        if url:
            engine.dispose()
