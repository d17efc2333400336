"""A person's decision on a version that needs an approval.

The database (`sluice.approve`, `sluice.guard_promotion`) checks that the evidence is that of the registered version,
and that nobody approves a run that they triggered. This module checks what the database does not know: the approvers,
the digest of the declaration, the files of the artifact, and the changes since the evidence was gathered.
"""

from __future__ import annotations

from typing import Literal

from include.errors import ApprovalVoidError, ApproverNotAllowedError
from include.reasons import check_reason
from include.records import ApprovalDecision, ModelVersion
from include.registry import store_approval
from include.resources import Resources
from include.spec import ModelSpec
from include.warehouse import open_engine


def record_approval(
    spec: ModelSpec,
    shown: ModelVersion,
    decision: Literal["approved", "rejected", "timed out"],
    approver: str,
    requested_by: str | None,
    comment: str,
    resources: Resources,
) -> ApprovalDecision:
    """Store a person's decision on a request that showed the evidence of a version.

    Parameters
    ----------
    shown : ModelVersion
        The version as it was shown; the decision is only for this evidence.
    requested_by : str or None
        The person who triggered the run. None: it ran by schedule.

    Raises
    ------
    ReasonError
        When a person gave too short a comment; see `include.reasons`. Nothing is stored.
    ApproverNotAllowedError
        When the approver triggered the run, or is not one of the declared approvers.
    ApprovalVoidError
        When, since the evidence was gathered, the declaration or the champion changed, or another version was
        registered.
    ArtifactError, SignatureError
        When the artifact, of which the evidence is a part, is not what was registered.
    """
    if decision != "timed out":
        comment = check_reason(comment, "comment")
    if decision == "approved":
        _check_person(spec, shown, approver)
        _check_unchanged(spec, shown, resources)
    return _store(shown, decision, approver, requested_by, comment, resources)


def approve_version(
    spec: ModelSpec, version: int, approver: str, comment: str, resources: Resources
) -> ApprovalDecision:
    """Approve a registered version from the command line; another person may then promote it.

    The rules are those of an approval in Airflow.

    Raises
    ------
    ReasonError
        When a person gave too short a comment; see `include.reasons`. Nothing is stored.
    ApproverNotAllowedError
        When the approver triggered the run, or is not one of the declared approvers.
    ApprovalVoidError
        When, since the evidence was gathered, the declaration or the champion changed, or another version was
        registered.
    ArtifactError, SignatureError
        When the artifact, of which the evidence is a part, is not what was registered.
    """
    comment = check_reason(comment, "--comment")
    registered = resources.ledger.version(spec.name, version)
    _check_person(spec, registered, approver)
    _check_unchanged(spec, registered, resources)
    return _store(registered, "approved", approver, registered.requested_by, comment, resources)


def _check_person(spec: ModelSpec, shown: ModelVersion, approver: str) -> None:
    named = spec.approval.approvers if spec.approval else ()
    if named and approver not in named:
        why = f"the declaration names {', '.join(named)}"
        raise ApproverNotAllowedError(shown.model, shown.version, approver, why)


def check_declaration(spec: ModelSpec, shown: ModelVersion) -> None:
    """Check that a version was evaluated with the present declaration.

    Raises
    ------
    ApprovalVoidError
        When spec.py or features.sql changed since then.
    """
    if spec.digest != shown.spec_digest:
        raise ApprovalVoidError(shown.model, shown.version, "the declaration (spec.py or features.sql) changed")


def _check_unchanged(spec: ModelSpec, shown: ModelVersion, resources: Resources) -> None:
    """Compare the shown evidence with the present state; the promotion checks again what may change later."""
    check_declaration(spec, shown)
    resources.artifacts.open(shown.model, shown.version, shown.artifact_digest)
    champion = resources.ledger.champion(shown.model)
    sequence = champion.sequence if champion else 0
    if sequence != shown.evaluation.champion_sequence:
        why = f"the champion changed (sequence {shown.evaluation.champion_sequence} then, {sequence} now)"
        raise ApprovalVoidError(shown.model, shown.version, why)
    newest = resources.ledger.versions(shown.model)[-1].version
    if newest != shown.version:
        raise ApprovalVoidError(shown.model, shown.version, f"version {newest} was registered")


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
