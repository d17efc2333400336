"""Records for auditors: the checks of a version, and statements that people signed."""

from __future__ import annotations

import json

from pydantic import AwareDatetime

from include.records.base import Record


class AuditCheck(Record):
    """One check of a registered version, and its result."""

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
        """The bytes that are signed. The first line distinguishes them from everything else that is signed."""
        content = self.model_dump(mode="json", exclude={"signature"})
        return b"sluice attestation\n" + json.dumps(content, sort_keys=True).encode()
