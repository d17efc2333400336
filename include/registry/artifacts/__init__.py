"""Artifacts on disk: complete or absent, and never parsed before digests and signature are checked.

An artifact is the folder ``<root>/<model>/<version>/``. Its ``manifest.json`` holds the SHA-256 of
every other file; the SHA-256 of the manifest itself is the artifact's digest and stands in the
ledger; ``manifest.sig`` is the signature of the manifest's bytes. To change what a manifest means,
raise `FORMAT_VERSION` and keep reading the older ones: format 1 had no signature and no version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from include.errors import ArtifactError, SignatureError
from include.provenance import VerifiedFiles, digest_mismatch, read_regular_file
from include.records import Record
from include.settings import Settings
from include.signing import Keyring

FORMAT_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
EVIDENCE, CARD = "evidence.json", "card.html"
# What becomes a model in memory is read once: checked and handed out are the same bytes.
LOADED = ("golden.json", "model.onnx", "signature.json")


class Manifest(Record):
    """What an artifact consists of and was made from; every digest is a SHA-256 in hex.

    ``version`` is filled in when the artifact is saved: so a whole folder cannot pass for another's.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION
    model: str
    version: int | None = None
    files: dict[str, str]
    spec_digest: str
    data_digest: str
    code_digest: str
    libraries: dict[str, str]
    created_at: AwareDatetime


class VerifiedArtifact(VerifiedFiles):
    """An artifact whose every byte was checked; `read` gives out only what was, whatever lies there by now.

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    key_id : str or None
        Who signed it; None for an artifact of format 1.
    """

    def __init__(self, folder: Path, manifest: Manifest, key_id: str | None, kept: dict[str, bytes]) -> None:
        super().__init__(folder, manifest.files, kept)
        self.manifest = manifest
        self.key_id = key_id


class ArtifactStore:
    """A folder of artifacts.

    Parameters
    ----------
    root : Path
        The folder that holds ``<model>/<version>/``.
    keys : Keyring
        Who signs, and whose signatures are trusted.
    """

    def __init__(self, root: Path, keys: Keyring) -> None:
        self._root = root
        self.keys = keys

    @classmethod
    def of(cls, settings: Settings) -> ArtifactStore:
        """Return the store that the environment asks for."""
        return cls(settings.artifacts_dir, Keyring.of(settings))

    def locate(self, model: str, version: int) -> Path:
        """Return where the artifact lies, or would lie."""
        return self._root / model / str(version)

    def put(self, source: Path, manifest: Manifest, version: int) -> str:
        """Copy the files that `manifest` names from `source`, as one step, and return the artifact's digest.

        The folder appears by a rename after everything was written, signed and flushed to disk; a
        folder of the same version that the ledger never came to know is replaced.

        Raises
        ------
        ArtifactError
            When a file is missing or is not what the manifest says.
        SettingsError
            When there is no key to sign with.
        """
        signer = self.keys.signer()
        final = self.folder(manifest.model, version)
        staged = final.with_name(f".{version}.{os.getpid()}.tmp")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name in manifest.files:
            shutil.copyfile(source / name, staged / name)
            _flush(staged / name)
        numbered = manifest.model_copy(update={"version": version})
        content = numbered.model_dump_json(indent=2).encode()
        (staged / MANIFEST).write_bytes(content)
        (staged / SIGNATURE).write_bytes(signer.sign(content))
        _check_files(staged, numbered)
        for path in (staged / MANIFEST, staged / SIGNATURE, staged):
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
        _flush(final.parent)
        return hashlib.sha256(content).hexdigest()

    def open(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Return the artifact after checking every byte of it against the ledger's digest and its signature.

        Raises
        ------
        ArtifactError
            When a file is missing, added, changed or not a plain file.
        SignatureError
            When the signature is missing, by a key that is not trusted, or of other bytes.
        """
        folder = self.folder(model, version)
        if folder.is_symlink():
            raise ArtifactError(f"{folder}: expected a folder; found a link. Restore it from a backup, or roll back.")
        content, found = read_regular_file(folder / MANIFEST, keep=True)
        if found != artifact_digest:
            raise digest_mismatch(folder / MANIFEST, artifact_digest, found)
        key_id = self._signed_by(folder, content)
        manifest = read_manifest(folder, content)
        self._check_claims(folder, manifest, key_id, (model, version))
        return VerifiedArtifact(folder, manifest, key_id, _check_files(folder, manifest))

    def _signed_by(self, folder: Path, content: bytes) -> str | None:
        """Return the key that signed the manifest, or None when there is no signature at all."""
        if not os.path.lexists(folder / SIGNATURE):
            return None
        signed, _ = read_regular_file(folder / SIGNATURE, keep=True)
        return self.keys.verify(content, signed, thing=str(folder / MANIFEST))

    def _check_claims(self, folder: Path, manifest: Manifest, key_id: str | None, wanted: tuple[str, int]) -> None:
        """Insist on a signature, and that what was signed is of the model and version asked for."""
        if key_id is None and manifest.format_version > 1:
            raise SignatureError(
                f"{folder}: expected {SIGNATURE}; found none. Restore it from a backup, or roll back to another one."
            )
        if key_id is None and self.keys.require_signatures:
            raise SignatureError(
                f"{folder}: expected a signature, as SLUICE_REQUIRE_SIGNATURES says; found an artifact of format 1, "
                "which has none. Train the model again, or roll back to a version that is signed."
            )
        numbered = wanted if manifest.format_version > 1 else (wanted[0], None)
        if (manifest.model, manifest.version) != numbered:
            raise ArtifactError(
                f"{folder}: expected the artifact of '{wanted[0]}' version {wanted[1]}; found that of "
                f"'{manifest.model}' version {manifest.version}. Restore it from a backup, or roll back."
            )


def read_manifest(folder: Path, content: bytes) -> Manifest:
    """Read a manifest; ArtifactError when it is none, or of a format that came later."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / MANIFEST}: expected format {FORMAT_VERSION} or older; found something else "
            f"({error.errors()[0]['msg']}). Update Sluice, or roll back to an older version."
        ) from error


def _check_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Check each file's digest, and return the content of those that are loaded."""
    besides = {MANIFEST} if manifest.format_version == 1 else {MANIFEST, SIGNATURE}
    found = {path.name for path in folder.iterdir()} - besides
    if found != set(manifest.files):
        missing, added = set(manifest.files) - found, found - set(manifest.files)
        raise ArtifactError(
            f"{folder}: expected exactly the files of its manifest; missing: {sorted(missing) or 'none'}, "
            f"added: {sorted(added) or 'none'}. Restore the folder from a backup, or roll back."
        )
    kept = {}
    for name, expected in manifest.files.items():
        content, digest = read_regular_file(folder / name, keep=name in LOADED)
        if digest != expected:
            raise digest_mismatch(folder / name, expected, digest)
        if name in LOADED:
            kept[name] = content
    return kept


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
