"""What the ledger holds: versions and promotions."""

from __future__ import annotations

import hashlib

from pydantic import AwareDatetime

from include.records.base import Record
from include.records.evidence import Decision, Evaluation


class ModelVersion(Record):
    """A registered version: what the ledger holds of it. Never changed once written."""

    model: str
    version: int
    artifact_digest: str
    spec_digest: str
    data_digest: str
    run_id: str
    evaluation: Evaluation
    decision: Decision
    created_at: AwareDatetime

    @property
    def evidence_digest(self) -> str:
        """SHA-256 of everything above: what a promotion was decided on."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Promotion(Record):
    """One move of the champion; the one with the highest fence is in force."""

    model: str
    fence: int
    from_version: int | None
    to_version: int
    actor: str
    reason: str
    evidence_digest: str
    at: AwareDatetime
