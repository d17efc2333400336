"""Where artifacts are kept: complete or absent, and never parsed before they are verified.

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
    """A place where artifacts are kept: a folder or an object store, with the same guarantees.

    Attributes
    ----------
    keys : Keyring
        Who signs, and whose signatures are trusted.
    """

    keys: Keyring

    def put(self, source: Path, manifest: Manifest, version: int) -> str:
        """Store the files that `manifest` names, all of them or none, and return the artifact's digest.

        An artifact of the same version that the ledger never came to know is replaced.

        Raises
        ------
        ArtifactError
            When a file in the folder `source` is missing or is not what the manifest says, or when another
            writer was faster.
        SettingsError
            When there is no key to sign with.
        """

    def open(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Return the artifact after checking every byte of it against the ledger's digest and its signature.

        Raises
        ------
        ArtifactError
            When a file is missing, added, changed or not a plain file.
        SignatureError
            When the signature is missing, by a key that is not trusted, or of other bytes.
        """

    def list(self, model: str) -> tuple[int, ...]:
        """Return the versions of `model` that are here whole, in ascending order."""

    def verify(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Do what `open` does with what is in the store itself, past whatever this host keeps of it: for auditors."""

    def files(self, model: str, version: int, artifact_digest: str) -> FileSource:
        """Return the files of an artifact as they are in the store itself, with nothing checked yet: for auditors."""

    def locate(self, model: str, version: int, name: str = "", *, artifact_digest: str = "*") -> str:
        """Return where an artifact, or one file of it, is or would be: a path or a URL, to be shown to people."""

    def remove_orphans(self, keep: timedelta, now: datetime) -> int:
        """Remove what writers that were killed left behind, once it is older than `keep`; return how many remains.

        No version that is here whole is touched. `keep` must be longer than any `put` may take.
        """
