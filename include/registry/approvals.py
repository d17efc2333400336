"""What people said of versions that ask for an approval, and what the database says where one is missing."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.errors import ApprovalRequiredError, CandidateRejectedError
from include.records import ApprovalDecision, ModelVersion

_APPROVE = """
    SELECT * FROM sluice.approve(:model, :version, :evidence, :decision, :approver, :requested_by, :comment)
"""
# What the database raises of its own accord: see the migration that made `sluice.promote`.
NEEDS_APPROVAL, NOT_ACCEPTED = "SL001", "SL002"


def store_approval(
    engine: Engine,
    version: ModelVersion,
    decision: Literal["approved", "rejected", "timed out"],
    *,
    approver: str,
    requested_by: str | None,
    comment: str,
) -> ApprovalDecision:
    """Store what a person said of a version; the database adds what was true at that moment.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Under a role that may: the ledger's owner, or a member of ``sluice_approver``.
    """
    row = {
        "model": version.model,
        "version": version.version,
        "evidence": version.evidence_digest,
        "decision": decision,
        "approver": approver,
        "requested_by": requested_by,
        "comment": comment,
    }
    with engine.begin() as connection:
        return ApprovalDecision.model_validate(dict(connection.execute(text(_APPROVE), row).mappings().one()))


def read_approvals(engine: Engine, model: str) -> tuple[ApprovalDecision, ...]:
    """Return everything that people said of versions of `model`, oldest first."""
    statement = text("SELECT * FROM sluice.approval WHERE model = :model ORDER BY id")
    with engine.connect() as connection:
        rows = connection.execute(statement, {"model": model}).mappings()
        return tuple(ApprovalDecision.model_validate(dict(row)) for row in rows)


def translate_error(error: DBAPIError, version: ModelVersion) -> Exception:
    """Return what the database's refusal to promote `version` means; the error itself, when it is no such one."""
    code = getattr(error.orig, "sqlstate", None)
    if code == NEEDS_APPROVAL:
        return ApprovalRequiredError(version.model, version.version, str(error.orig).splitlines()[0])
    if code == NOT_ACCEPTED:
        return CandidateRejectedError(version.model, version.version, version.decision.reasons)
    return error
