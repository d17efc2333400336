"""What an auditor is told: single checks of a version, and statements that people signed."""

from __future__ import annotations

import json

from pydantic import AwareDatetime

from include.records.base import Record


class AuditCheck(Record):
    """One thing that was checked of a registered version, and what was found."""

    name: str
    passed: bool
    sentence: str


class Attestation(Record):
    """A person's statement that one test of the ML Test Score holds for a model, signed."""

    model: str
    test: str
    statement: str
    actor: str
    attested_at: AwareDatetime
    signature: str = ""

    @property
    def signed_text(self) -> bytes:
        """What the signature is over. Its first words keep it from passing for anything else that is signed."""
        said = self.model_dump(mode="json", exclude={"signature"})
        return b"sluice attestation\n" + json.dumps(said, sort_keys=True).encode()
