"""What a candidate is as an artifact: the same for its rehearsal and for its registration."""

from __future__ import annotations

from include.provenance import code_digest, library_versions
from include.records import ExportedCandidate
from include.registry import Manifest
from include.resources import Resources
from include.spec import ModelSpec


def manifest_of(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Manifest:
    """Return the manifest of a candidate's files, and of what they were made from."""
    return Manifest(
        model=spec.name,
        files=exported.digests,
        spec_digest=spec.digest,
        data_digest=exported.fitted.snapshot.digest,
        code_digest=code_digest(),
        libraries=library_versions(),
        created_at=resources.clock(),
    )
