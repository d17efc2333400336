"""Artifacts on disk: complete or absent, and never parsed before their digests are checked.

An artifact is the folder ``<root>/<model>/<version>/``. Its ``manifest.json`` holds the SHA-256 of
every other file; the SHA-256 of the manifest itself is the artifact's digest and stands in the
ledger. To change what a manifest means, raise `FORMAT_VERSION` and keep reading the older ones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from include.errors import ArtifactError
from include.provenance import file_digest
from include.records import Record

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


class Manifest(Record):
    """What an artifact consists of and was made from; every digest is a SHA-256 in hex."""

    format_version: int = FORMAT_VERSION
    model: str
    files: dict[str, str]
    spec_digest: str
    data_digest: str
    code_digest: str
    libraries: dict[str, str]
    created_at: AwareDatetime


class ArtifactStore:
    """A folder of artifacts.

    Parameters
    ----------
    root : Path
        The folder that holds ``<model>/<version>/``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, model: str, version: int) -> Path:
        """Return where the artifact lies, or would lie."""
        return self._root / model / str(version)

    def save(self, source: Path, manifest: Manifest, version: int) -> str:
        """Copy the files that `manifest` names from `source`, as one step, and return the artifact's digest.

        The folder appears by a rename after everything was written and flushed to disk; a folder of
        the same version that the ledger never came to know is replaced.

        Raises
        ------
        ArtifactError
            When a file is missing or is not what the manifest says.
        """
        final = self.folder(manifest.model, version)
        staged = final.with_name(f".{version}.{os.getpid()}.tmp")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name in manifest.files:
            shutil.copyfile(source / name, staged / name)
            _flush(staged / name)
        content = manifest.model_dump_json(indent=2).encode()
        (staged / MANIFEST).write_bytes(content)
        _check_files(staged, manifest)
        _flush(staged / MANIFEST)
        _flush(staged)
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
        _flush(final.parent)
        return hashlib.sha256(content).hexdigest()

    def verified(self, model: str, version: int, artifact_digest: str) -> Path:
        """Return the artifact's folder after checking every byte of it against the ledger's digest.

        Raises
        ------
        ArtifactError
            When a file is missing, added, changed or not a plain file.
        """
        folder = self.folder(model, version)
        try:
            content = _plain_file(folder / MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{folder}: expected the artifact of '{model}' version {version}; found no {MANIFEST}. "
                "Restore the folder from a backup, or roll back to another version."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != artifact_digest:
            raise _changed(folder / MANIFEST, artifact_digest, found)
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise ArtifactError(
                f"{folder / MANIFEST}: expected format {FORMAT_VERSION} or older; found something else "
                f"({error.errors()[0]['msg']}). Update Sluice, or roll back to an older version."
            ) from error
        _check_files(folder, manifest)
        return folder


def _check_files(folder: Path, manifest: Manifest) -> None:
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    if found != set(manifest.files):
        missing, added = set(manifest.files) - found, found - set(manifest.files)
        raise ArtifactError(
            f"{folder}: expected exactly the files of its manifest; missing: {sorted(missing) or 'none'}, "
            f"added: {sorted(added) or 'none'}. Restore the folder from a backup, or roll back."
        )
    for name, expected in manifest.files.items():
        digest = file_digest(_plain_file(folder / name))
        if digest != expected:
            raise _changed(folder / name, expected, digest)


def _plain_file(path: Path) -> Path:
    """Refuse links: they would let a file outside the artifact be swapped after the check."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ArtifactError(
            f"{path}: expected a plain file; found a link or a folder. Restore it from a backup, or roll back."
        )
    return path


def _changed(path: Path, expected: str, found: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: expected SHA-256 {expected[:12]}…; found {found[:12]}…. The file was changed after it was "
        "registered: restore it from a backup, or roll back to another version."
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
