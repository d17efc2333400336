"""The records of the ledger: versions, promotions and approvals."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record
from include.records.evidence import Decision, Evaluation


class ModelVersion(Record):
    """A registered version, as the ledger holds it. It never changes.

    `requested_by` is the person who triggered the run; None: its schedule. `origin_digest` is that of all it was made
    from, see `include.steps.register.origin_of`; None in a version from before it was recorded.
    """

    model: str
    version: int
    artifact_digest: str
    spec_digest: str
    data_digest: str
    run_id: str
    evaluation: Evaluation
    decision: Decision
    created_at: AwareDatetime
    needs_approval: bool = False
    requested_by: str | None = None
    origin_digest: str | None = None

    @property
    def evidence_digest(self) -> str:
        """SHA-256 of all fields above: of what a promotion was decided on.

        Fields with default values are left out, so that a field added later does not change existing digests.
        """
        plain = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class Promotion(Record):
    """One change of the champion. The promotion with the highest sequence number is in force."""

    model: str
    sequence: int
    from_version: int | None
    to_version: int
    actor: str
    reason: str
    evidence_digest: str
    promoted_at: AwareDatetime


class PromotionHold(Record):
    """A hold in force: until `held_until`, or until it is lifted (None), no retrain promotes a version of the model."""

    model: str
    held_until: AwareDatetime | None
    actor: str
    reason: str
    set_at: AwareDatetime

    @property
    def end(self) -> str:
        """Until when it holds, as text."""
        return "until it is lifted" if self.held_until is None else f"until {_minute(self.held_until)}"

    @property
    def sentence(self) -> str:
        """Who holds promotions, since and until when, and why."""
        return (
            f"{self.actor} holds promotions of '{self.model}' since {_minute(self.set_at)}, {self.end} "
            f"(reason: {self.reason})"
        )


class ApprovalDecision(Record):
    """A person's decision on a version. It is stored permanently, and is void when anything in it has changed.

    `champion_sequence` and `newest_version` are those at the time of the decision.
    """

    id: int
    model: str
    version: int
    evidence_digest: str
    decision: Literal["approved", "rejected", "timed out"]
    approver: str
    requested_by: str | None
    comment: str
    champion_sequence: int
    newest_version: int
    database_user: str
    decided_at: AwareDatetime


def _minute(moment: AwareDatetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
