"""Approvals in the database: stored decisions of people, and errors for the database's refusals."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.errors import (
    DELETED_VERSION,
    HELD,
    OLDER_DATA,
    ApprovalRequiredError,
    ApprovalVoidError,
    ApproverNotAllowedError,
    CandidateRejectedError,
    OlderDataError,
    PromotionHeldError,
    VersionDeletedError,
)
from include.records import ApprovalDecision, ModelVersion, PromotionHold

_APPROVE = """
    SELECT * FROM sluice.approve(:model, :version, :evidence, :decision, :approver, :requested_by, :comment)
"""
# The SQLSTATEs and the constraint with which the database refuses: see the migrations.
NEEDS_APPROVAL, NOT_ACCEPTED, OTHER_EVIDENCE, NOT_BY_ONESELF = "SL001", "SL002", "SL003", "not_by_oneself"


def store_approval(
    engine: Engine,
    version: ModelVersion,
    decision: Literal["approved", "rejected", "timed out"],
    *,
    approver: str,
    requested_by: str | None,
    comment: str,
) -> ApprovalDecision:
    """Store a person's decision on a version; the database adds the state at that moment.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        With a role that may approve: the ledger's owner, or a member of ``sluice_approver``.

    Raises
    ------
    ApprovalVoidError
        When the evidence differs from that of the registered version.
    ApproverNotAllowedError
        When the approver triggered the run.
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
    try:
        with engine.begin() as connection:
            return ApprovalDecision.model_validate(dict(connection.execute(text(_APPROVE), row).mappings().one()))
    except DBAPIError as error:
        raise _refusal(error, version, approver) from error


def read_approvals(engine: Engine, model: str) -> tuple[ApprovalDecision, ...]:
    """Return all decisions on versions of `model`, oldest first."""
    statement = text("SELECT * FROM sluice.approval WHERE model = :model ORDER BY id")
    with engine.connect() as connection:
        rows = connection.execute(statement, {"model": model}).mappings()
        return tuple(ApprovalDecision.model_validate(dict(row)) for row in rows)


def _refusal(error: DBAPIError, version: ModelVersion, approver: str) -> Exception:
    """Return the error for the database's refusal to store a decision; other errors are returned unchanged."""
    if getattr(error.orig, "sqlstate", None) == DELETED_VERSION:
        return VersionDeletedError(version.model, version.version)
    if getattr(error.orig, "sqlstate", None) == OTHER_EVIDENCE:
        return ApprovalVoidError(version.model, version.version, "the evidence changed")
    if NOT_BY_ONESELF in str(error.orig):
        return ApproverNotAllowedError(
            version.model, version.version, approver, "the person who triggered the run may not approve it"
        )
    return error


def translate_error(error: DBAPIError, version: ModelVersion) -> Exception:
    """Return the error for the database's refusal to promote `version`; other errors are returned unchanged."""
    code = getattr(error.orig, "sqlstate", None)
    if code == NEEDS_APPROVAL:
        return ApprovalRequiredError(version.model, version.version, str(error.orig).splitlines()[0])
    if code == DELETED_VERSION:
        return VersionDeletedError(version.model, version.version)
    if code == NOT_ACCEPTED:
        return CandidateRejectedError(version.model, version.version, version.decision.failures)
    if code == HELD:
        hold = PromotionHold.model_validate(_detail(error))
        return PromotionHeldError(version.model, version.version, hold.sentence)
    if code == OLDER_DATA:
        found = _detail(error)
        ends = (found["champion_end"], found["data_end"])
        champion_end, data_end = (None if each is None else datetime.fromisoformat(each) for each in ends)
        assert champion_end is not None  # noqa: S101  # an unknown end is not compared
        return OlderDataError(version.model, version.version, data_end, found["champion"], champion_end)
    return error


def _detail(error: DBAPIError) -> dict[str, Any]:
    """Return what the database found, which its refusal has as JSON."""
    found: dict[str, Any] = json.loads(getattr(error.orig, "diag").message_detail)  # noqa: B009  # of psycopg's errors
    return found
