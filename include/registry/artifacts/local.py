"""Artifacts in a folder: ``<root>/<model>/<version>/``."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.errors import ArtifactError
from include.provenance import FileSource, Folder, read_regular_file
from include.registry.artifacts.manifest import MANIFEST, SIGNATURE, Manifest
from include.registry.artifacts.verification import VerifiedArtifact, verify_artifact
from include.signing import Keyring, Signer


class LocalArtifactStore:
    """A folder of artifacts. A version appears by a rename, after all its files were flushed to the disk.

    Parameters
    ----------
    root : Path
        The folder that holds ``<model>/<version>/``.
    keys : Keyring
        The key that signs, and the trusted keys.
    """

    def __init__(self, root: Path, keys: Keyring) -> None:
        self._root = root
        self.keys = keys

    def put(self, source: Path, manifest: Manifest, version: int) -> str:
        """Store the files that `manifest` names, all of them or none; see `ArtifactStore.put`."""
        signer = self.keys.signer()
        final = self._folder(manifest.model, version)
        staged = final.with_name(f".{version}.{os.getpid()}.tmp")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            content = _fill(staged, source, manifest, version, signer)
            shutil.rmtree(final, ignore_errors=True)
            staged.rename(final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        _flush(final.parent)
        return hashlib.sha256(content).hexdigest()

    def open(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Return the artifact after checking every byte of it; see `ArtifactStore.open`."""
        return self.verify(model, version, artifact_digest)

    def list(self, model: str) -> tuple[int, ...]:
        """Return the complete versions of `model`, in ascending order."""
        found = (path.parent.name for path in (self._root / model).glob(f"*/{MANIFEST}"))
        return tuple(sorted(int(name) for name in found if name.isdigit()))

    def verify(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Do what `open` does; see `ArtifactStore.verify`."""
        files = self.files(model, version, artifact_digest)
        return verify_artifact(files, model, version, artifact_digest, self.keys)

    def files(self, model: str, version: int, artifact_digest: str) -> FileSource:  # noqa: ARG002  # of the protocol
        """Return the folder of a version; see `ArtifactStore.files`."""
        return _VersionFolder(self._folder(model, version))

    def locate(self, model: str, version: int, name: str = "", *, artifact_digest: str = "*") -> str:  # noqa: ARG002
        """Return the path of an artifact or of one file of it."""
        return str(self._folder(model, version) / name)

    def remove(self, model: str) -> int:
        """Remove the folder of a model; see `ArtifactStore.remove`."""
        folder, complete = self._root / model, len(self.list(model))
        if folder.is_symlink():
            raise ArtifactError(f"{folder}: expected a folder; found a link. Remove what it leads to, and the link.")
        if folder.exists():
            shutil.rmtree(folder)
        return complete

    def remove_orphans(self, keep: timedelta, now: datetime) -> int:
        """Remove the folders of writers that were killed; see `ArtifactStore.remove_orphans`."""
        old = [
            folder
            for folder in self._root.glob("*/.*.tmp")
            if now - datetime.fromtimestamp(folder.stat().st_mtime, UTC) > keep
        ]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        return len(old)

    def _folder(self, model: str, version: int) -> Path:
        return self._root / model / str(version)


class _VersionFolder(Folder):
    """A folder that is not a link: the target of a link could be exchanged between the checks of two files."""

    def names(self) -> set[str]:
        """Return the names of everything in the folder."""
        if self._path.is_symlink():
            raise ArtifactError(
                f"{self.location}: expected a folder; found a link. Restore it from a backup, or roll back."
            )
        return super().names()


def _fill(staged: Path, source: Path, manifest: Manifest, version: int, signer: Signer) -> bytes:
    """Copy, check and sign everything, flush it to the disk, and return the content of the manifest."""
    for name, digest in manifest.files.items():
        shutil.copyfile(source / name, staged / name)
        _flush(staged / name)
        read_regular_file(staged / name, digest=digest, keep=False)
    sizes = {name: (staged / name).stat().st_size for name in manifest.files}
    content = manifest.model_copy(update={"version": version, "sizes": sizes}).to_json()
    (staged / MANIFEST).write_bytes(content)
    (staged / SIGNATURE).write_bytes(signer.sign(content))
    for path in (staged / MANIFEST, staged / SIGNATURE, staged):
        _flush(path)
    return content


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
