"""The manifest of an artifact: its files and its origin."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from include.errors import ArtifactError
from include.records import Record

FORMAT_VERSION: Literal[1] = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
EVIDENCE, CARD = "evidence.json", "card.html"


class Manifest(Record):
    """The files and the origin of an artifact; every digest is a SHA-256 in hex.

    ``version`` and ``sizes`` (bytes of each file) are set when the artifact is put into a store. So one version's
    artifact is not accepted as another's, and no more bytes are read than were put.
    """

    format_version: Literal[1] = FORMAT_VERSION
    model: str
    version: int | None = None
    files: dict[str, str]
    sizes: dict[str, int] = Field(default_factory=dict)
    spec_digest: str
    data_digest: str
    code_digest: str
    libraries: dict[str, str]
    created_at: AwareDatetime

    def to_json(self) -> bytes:
        """Return the bytes that are signed. Their SHA-256 is the artifact's digest."""
        return self.model_dump_json(indent=2).encode()


def read_manifest(place: str, content: bytes) -> Manifest:
    """Parse a manifest; ArtifactError when it is invalid, or has a newer format."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ArtifactError(
            f"{place}/{MANIFEST}: expected a manifest of format {FORMAT_VERSION}; found something else "
            f"({error.errors()[0]['msg']}). Update Sluice, or roll back to an older version."
        ) from error
