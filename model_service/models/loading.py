"""Loads a registered version: verifies its files, creates the scorer and checks the golden rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from include.errors import ArtifactError, SluiceError
from include.inference import Scorer, check_golden, load_golden, load_scorer
from include.records import ModelVersion
from include.registry import ArtifactStore
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)


def load_version(artifacts: ArtifactStore, version: ModelVersion) -> Scorer:
    """Return the scorer of a version, after verifying every file against the ledger's digest and the signature.

    Raises
    ------
    ArtifactError
        If a file is missing, changed or unreadable, the signature is not trusted, the artifact belongs to another
        model, a golden row gets a different prediction, or loading fails for any other reason.
    """
    return load_artifact(artifacts, version.model, version.version, version.artifact_digest)


def load_artifact(artifacts: ArtifactStore, model: str, version: int, artifact_digest: str) -> Scorer:
    """Return the scorer of the artifact with `artifact_digest`; raises what `load_version` raises."""
    with _as_artifact_error(artifacts, model, version):
        artifact = artifacts.open(model, version, artifact_digest)
        scorer = load_scorer(artifact)
        if scorer.signature.model != model:
            raise ArtifactError(
                f"{artifact.location}: expected an artifact of '{model}'; found '{scorer.signature.model}'"
            )
        check_golden(scorer, load_golden(artifact))
        return scorer


def verify_version(artifacts: ArtifactStore, version: ModelVersion) -> None:
    """Check every file of a version's artifact against the ledger's digest and the signature, without loading it.

    For a version whose digest is that of a scorer in memory: that its rows get the same answers says nothing of its
    folder, which may not exist.

    Raises
    ------
    ArtifactError
        If a file is missing, changed or unreadable, or the signature is not trusted.
    """
    with _as_artifact_error(artifacts, version.model, version.version):
        artifacts.open(version.model, version.version, version.artifact_digest)


@contextmanager
def _as_artifact_error(artifacts: ArtifactStore, model: str, version: int) -> Iterator[None]:
    try:
        yield
    except ArtifactError:
        raise
    except SluiceError as error:  # such as a key that cannot be read: its message tells what to do
        raise ArtifactError(str(error)) from error
    except Exception as error:
        log_unexpected(log, f"version {version} of '{model}' could not be loaded", error)
        raise ArtifactError(
            f"version {version} of '{model}': expected an artifact that can be loaded; loading it fails: "
            f"{type(error).__name__}: {error}. Make sure that {artifacts.locate(model, version)} is complete and "
            "readable, or roll back to another version."
        ) from error
