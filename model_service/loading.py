"""One registered version becomes a model in memory: verified, loaded, and asked its golden rows."""

from __future__ import annotations

from include.errors import ArtifactError
from include.inference import Scorer, check_golden, load_golden, load_scorer
from include.records import ModelVersion
from include.registry import ArtifactStore


def load_version(artifacts: ArtifactStore, version: ModelVersion) -> Scorer:
    """Return the scorer of a version whose every file is what the ledger's digest and the signature say.

    Raises
    ------
    ArtifactError
        If a file is missing or altered, the signature is not a trusted one, it is of another model, or a
        golden row gets another answer.
    """
    return load_artifact(artifacts, version.model, version.version, version.artifact_digest)


def load_artifact(artifacts: ArtifactStore, model: str, version: int, artifact_digest: str) -> Scorer:
    """Return the scorer of the artifact that has `artifact_digest`; raises what `load_version` raises."""
    artifact = artifacts.verified(model, version, artifact_digest)
    scorer = load_scorer(artifact)
    if scorer.signature.model != model:
        raise ArtifactError(f"{artifact.folder}: expected an artifact of '{model}'; found '{scorer.signature.model}'")
    check_golden(scorer, load_golden(artifact))
    return scorer
