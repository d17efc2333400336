"""One registered version becomes a model in memory: verified, loaded, and asked its golden rows."""

from __future__ import annotations

import logging

from include.errors import ArtifactError, SluiceError
from include.inference import Scorer, check_golden, load_golden, load_scorer
from include.records import ModelVersion
from include.registry import ArtifactStore
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)


def load_version(artifacts: ArtifactStore, version: ModelVersion) -> Scorer:
    """Return the scorer of a version whose every file is what the ledger's digest and the signature say.

    Raises
    ------
    ArtifactError
        If a file is missing, altered or cannot be read, the signature is not a trusted one, it is of another
        model, a golden row gets another answer, or anything else goes wrong: then too the artifact does not answer.
    """
    return load_artifact(artifacts, version.model, version.version, version.artifact_digest)


def load_artifact(artifacts: ArtifactStore, model: str, version: int, artifact_digest: str) -> Scorer:
    """Return the scorer of the artifact that has `artifact_digest`; raises what `load_version` raises."""
    try:
        return _checked(artifacts, model, version, artifact_digest)
    except ArtifactError:
        raise
    except SluiceError as error:  # of the keys, such as one that cannot be read: it says itself what to do
        raise ArtifactError(str(error)) from error
    except Exception as error:
        log_unexpected(log, f"version {version} of '{model}' could not be loaded", error)
        raise ArtifactError(
            f"version {version} of '{model}': expected an artifact that can be loaded; loading it fails: "
            f"{type(error).__name__}: {error}. Have {artifacts.locate(model, version)} whole and readable, "
            "or roll back to another version."
        ) from error


def _checked(artifacts: ArtifactStore, model: str, version: int, artifact_digest: str) -> Scorer:
    artifact = artifacts.open(model, version, artifact_digest)
    scorer = load_scorer(artifact)
    if scorer.signature.model != model:
        raise ArtifactError(f"{artifact.location}: expected an artifact of '{model}'; found '{scorer.signature.model}'")
    check_golden(scorer, load_golden(artifact))
    return scorer
