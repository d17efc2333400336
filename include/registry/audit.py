"""A detailed check of an artifact, for auditors. It reports every fault; `ArtifactStore.verify` stops at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from include.errors import ArtifactError, ArtifactStoreError, SettingsError
from include.provenance import FileSource
from include.records import AuditCheck, ModelVersion
from include.registry.artifacts import ArtifactStore, Manifest
from include.registry.artifacts.manifest import MANIFEST, read_manifest
from include.registry.artifacts.verification import check_signature


def audit_version(store: ArtifactStore, registered: ModelVersion) -> Iterator[AuditCheck]:
    """Check a version's manifest, its signature, each of its files, and that there are no other files.

    A check that an earlier fault makes impossible fails with that fault, so no check is left out.
    """
    version = (registered.model, registered.version, registered.artifact_digest)
    files = store.files(*version)

    def manifest() -> str:
        content = files.read(MANIFEST, digest=registered.artifact_digest)
        found = read_manifest(files.location, content)
        return f"SHA-256 {registered.artifact_digest}, as in the ledger; format {found.format_version}"

    def signature() -> str:
        return f"Ed25519, by trusted key {check_signature(files, files.read(MANIFEST), store.keys)}"

    def one_file(name: str, listed: Manifest) -> str:
        digest = listed.files[name]
        files.read(name, digest=digest, size=listed.sizes.get(name), keep=False)
        return f"SHA-256 {digest}, as in the manifest"

    def whole() -> str:
        artifact = store.verify(*version)
        return f"exactly the {len(artifact.manifest.files)} files of its manifest, of this model and version"

    yield run_check("manifest", manifest)
    yield run_check("signature", signature)
    listed = _listed(files)
    for name in sorted(listed.files) if listed else ():
        yield run_check(f"file {name}", lambda name=name, listed=listed: one_file(name, listed))  # type: ignore[misc]
    yield run_check("artifact", whole)


def run_check(name: str, work: Callable[[], str]) -> AuditCheck:
    """Return the result of one check: its sentence, or the error that it raised."""
    try:
        return AuditCheck(name=name, passed=True, sentence=work())
    except (ArtifactError, ArtifactStoreError, SettingsError, OSError) as error:
        return AuditCheck(name=name, passed=False, sentence=str(error))


def _listed(files: FileSource) -> Manifest | None:
    try:
        return read_manifest(files.location, files.read(MANIFEST))
    except (ArtifactError, ArtifactStoreError, OSError):
        return None  # the check of the manifest reports the reason
