"""Storage of artifacts. They are verified before any byte of them is parsed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from include.registry.artifacts.local import LocalArtifactStore
from include.registry.artifacts.manifest import CARD, EVIDENCE, Manifest
from include.registry.artifacts.object_store import ObjectArtifactStore, require_s3fs
from include.registry.artifacts.read_cache import ReadCache
from include.registry.artifacts.store import ArtifactStore
from include.registry.artifacts.verification import VerifiedArtifact
from include.settings import Settings
from include.signing import Keyring

__all__ = [
    "CARD",
    "EVIDENCE",
    "ArtifactStore",
    "LocalArtifactStore",
    "Manifest",
    "ObjectArtifactStore",
    "VerifiedArtifact",
    "open_artifact_store",
]


def open_artifact_store(settings: Settings) -> ArtifactStore:
    """Return the store that SLUICE_ARTIFACTS_URL names, or the folder under SLUICE_HOME when it is unset.

    Raises
    ------
    SettingsError
        When the package for object stores is not installed.
    """
    keys, url = Keyring.of(settings), settings.artifacts_url
    if url is None:
        return LocalArtifactStore(settings.artifacts_dir, keys)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalArtifactStore(Path(unquote(parts.path)), keys)
    require_s3fs(url)
    return ObjectArtifactStore(url, keys, ReadCache(settings.home / "cache" / "artifacts"))
