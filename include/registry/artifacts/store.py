"""The interface of artifact stores: artifacts are complete or absent, and verified before they are parsed.

An artifact is the files of one version of a model. Its ``manifest.json`` holds the SHA-256 and the length
of every other file; the SHA-256 of the manifest itself is the artifact's digest and stands in the ledger;
``manifest.sig`` is the signature of the manifest's bytes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from include.provenance import FileSource
from include.registry.artifacts.manifest import Manifest
from include.registry.artifacts.verification import VerifiedArtifact
from include.signing import Keyring


class ArtifactStore(Protocol):
    """A store of artifacts: a folder or an object store, with the same guarantees.

    Attributes
    ----------
    keys : Keyring
        The key that signs, and the trusted keys.
    """

    keys: Keyring

    def put(self, source: Path, manifest: Manifest, version: int) -> str:
        """Store the files that `manifest` names, all of them or none, and return the artifact's digest.

        An artifact of the same version that was never registered is replaced.

        Raises
        ------
        ArtifactError
            When a file in the folder `source` is missing or differs from the manifest, or when another writer was
            first.
        SettingsError
            When there is no key that signs.
        """

    def open(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Return the artifact after checking every byte of it against the ledger's digest and its signature.

        Raises
        ------
        ArtifactError
            When a file is missing, added, changed or not a regular file.
        SignatureError
            When the signature is missing, was made by an untrusted key, or is for other bytes.
        """

    def list(self, model: str) -> tuple[int, ...]:
        """Return the complete versions of `model`, in ascending order."""

    def verify(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Do what `open` does, but read from the store itself, not from this host's cache: for auditors."""

    def files(self, model: str, version: int, artifact_digest: str) -> FileSource:
        """Return the files of an artifact as they are in the store itself, not verified: for auditors."""

    def locate(self, model: str, version: int, name: str = "", *, artifact_digest: str = "*") -> str:
        """Return the path or URL of an artifact or of one of its files, to show it to people; it need not exist."""

    def remove(self, model: str) -> int:
        """Remove every file of `model`, of incomplete versions too; return the number of complete ones.

        An interrupted removal is finished by calling it again. Nobody may put a version of the model meanwhile.
        """

    def remove_orphans(self, keep: timedelta, now: datetime) -> int:
        """Remove the files of writers that were killed, if they are older than `keep`; return the number of removals.

        Complete versions are not touched. `keep` must be longer than any `put` takes.
        """
