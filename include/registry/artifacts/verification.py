"""Verification of artifacts: lengths, digests and the signature are checked before any byte is parsed."""

from __future__ import annotations

from include.errors import ArtifactError, SignatureError
from include.provenance import FileSource, VerifiedFiles
from include.registry.artifacts.manifest import MANIFEST, SIGNATURE, Manifest, read_manifest
from include.signing import Keyring

# Files that are loaded into memory are read once: the verified bytes are the ones that are returned.
LOADED = ("features.sql", "golden.json", "model.onnx", "signature.json")


class VerifiedArtifact(VerifiedFiles):
    """A verified artifact; `read` returns only the verified bytes, even if the files have changed since.

    Attributes
    ----------
    manifest : Manifest
    key_id : str
        The key that signed it.
    """

    def __init__(self, source: FileSource, manifest: Manifest, key_id: str, kept: dict[str, bytes]) -> None:
        super().__init__(source, manifest.files, kept, manifest.sizes)
        self.manifest = manifest
        self.key_id = key_id


def verify_artifact(
    source: FileSource, model: str, version: int, artifact_digest: str, keys: Keyring
) -> VerifiedArtifact:
    """Check every byte of an artifact against the ledger's digest and its signature.

    Raises
    ------
    ArtifactError
        When a file is missing, added, changed or not a regular file.
    SignatureError
        When the signature is missing, was made by an untrusted key, or is for other bytes.
    """
    content = source.read(MANIFEST, digest=artifact_digest)
    key_id = check_signature(source, content, keys)
    manifest = read_manifest(source.location, content)
    if (manifest.model, manifest.version) != (model, version):
        raise ArtifactError(
            f"{source.location}: expected the artifact of '{model}' version {version}; found that of "
            f"'{manifest.model}' version {manifest.version}. Restore it from a backup, or roll back."
        )
    return VerifiedArtifact(source, manifest, key_id, _check_files(source, manifest))


def check_signature(source: FileSource, manifest: bytes, keys: Keyring) -> str:
    """Return the trusted key that signed the bytes of the manifest.

    Raises
    ------
    SignatureError
        When the signature is missing, was made by an untrusted key, or is for other bytes.
    """
    try:
        signed = source.read(SIGNATURE)
    except ArtifactError as error:
        raise SignatureError(str(error)) from error
    return keys.verify(manifest, signed, thing=f"{source.location}/{MANIFEST}")


def _check_files(source: FileSource, manifest: Manifest) -> dict[str, bytes]:
    """Check that the files are exactly those of the manifest, and verify each; return those that are loaded."""
    found = source.names() - {MANIFEST, SIGNATURE}
    if found != set(manifest.files):
        lacking, added = set(manifest.files) - found, found - set(manifest.files)
        raise ArtifactError(
            f"{source.location}: expected exactly the files of its manifest; missing: {sorted(lacking) or 'none'}, "
            f"added: {sorted(added) or 'none'}. Restore the artifact from a backup, or roll back."
        )
    kept = {}
    for name, digest in manifest.files.items():
        content = source.read(name, digest=digest, size=manifest.sizes.get(name), keep=name in LOADED)
        if name in LOADED:
            kept[name] = content
    return kept
