"""An artifact examined piece by piece, for auditors: where `ArtifactStore.verified` stops, this goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from include.errors import ArtifactError, SettingsError
from include.provenance import digest_mismatch, read_regular_file
from include.records import AuditCheck, ModelVersion
from include.registry.artifacts import MANIFEST, SIGNATURE, ArtifactStore, Manifest, read_manifest


def audit_version(store: ArtifactStore, registered: ModelVersion) -> Iterator[AuditCheck]:
    """Check a version's manifest, its signature, each of its files, and that there is no other.

    What cannot be checked because of an earlier fault fails with that fault: nothing is left out.
    """
    folder = store.folder(registered.model, registered.version)

    def manifest() -> str:
        content, found = read_regular_file(folder / MANIFEST, keep=True)
        if found != registered.artifact_digest:
            raise digest_mismatch(folder / MANIFEST, registered.artifact_digest, found)
        return f"SHA-256 {found}, as the ledger says; format {read_manifest(folder, content).format_version}"

    def signature() -> str:
        content, _ = read_regular_file(folder / MANIFEST, keep=True)
        if not os.path.lexists(folder / SIGNATURE) and read_manifest(folder, content).format_version == 1:
            return "none: format 1 had no signature; the ledger's digest alone vouches for it"
        signed, _ = read_regular_file(folder / SIGNATURE, keep=True)
        return f"Ed25519, by trusted key {store.keys.verify(content, signed, thing=str(folder / MANIFEST))}"

    def one_file(name: str, expected: str) -> str:
        _, found = read_regular_file(folder / name, keep=False)
        if found != expected:
            raise digest_mismatch(folder / name, expected, found)
        return f"SHA-256 {found}, as the manifest says"

    def whole() -> str:
        artifact = store.open(registered.model, registered.version, registered.artifact_digest)
        return f"exactly the {len(artifact.manifest.files)} files of its manifest, of this model and version"

    yield run_check("manifest", manifest)
    yield run_check("signature", signature)
    listed = _listed(store, registered)
    for name, expected in sorted(listed.files.items()) if listed else ():
        yield run_check(f"file {name}", lambda name=name, expected=expected: one_file(name, expected))  # type: ignore[misc]
    yield run_check("artifact", whole)


def run_check(name: str, work: Callable[[], str]) -> AuditCheck:
    """Return what came of one check: its words, or the error that it raised."""
    try:
        return AuditCheck(name=name, passed=True, sentence=work())
    except (ArtifactError, SettingsError, OSError) as error:
        return AuditCheck(name=name, passed=False, sentence=str(error))


def _listed(store: ArtifactStore, registered: ModelVersion) -> Manifest | None:
    folder = store.folder(registered.model, registered.version)
    try:
        return read_manifest(folder, read_regular_file(folder / MANIFEST, keep=True)[0])
    except (ArtifactError, OSError):
        return None  # the check of the manifest has said why
