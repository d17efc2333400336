"""Serves pinned versions: no champion is looked up and no promotion followed.

A rehearsal starts such a service for a candidate that is not in the ledger yet. It can also serve a plain folder of
artifacts. Everything else works as usual; what needs a database answers 503 if there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from include.errors import ArtifactError
from include.inference import UnknownCategoryCounter
from include.models import declared_models
from include.registry import ArtifactStore, open_artifact_store
from include.settings import Pin, Settings
from model_service.models.loading import load_artifact
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel

log = logging.getLogger(__name__)

LEDGER_NOT_READ = "the ledger is not read: SLUICE_SERVICE_PINNED_VERSIONS selects the versions"


def pinned_registry(settings: Settings) -> ModelRegistry:
    """Return a registry with exactly the versions in ``settings.service_pinned_versions``.

    If an artifact cannot be loaded, its model has no version and the reason is recorded: the service starts, is not
    ready, and reports why. Loading is not retried.
    """
    pins = settings.service_pinned_versions
    registry = ModelRegistry(sorted(pins))
    registry.ledger_error = LEDGER_NOT_READ
    specs = declared_models(settings.models_dir).specs
    artifacts = open_artifact_store(settings)
    for served in registry:
        served.spec = specs.get(served.name)
        _load(served, pins, artifacts, registry.unknown_categories)
    return registry


def _load(
    served: ServedModel, pins: Mapping[str, Pin], artifacts: ArtifactStore, unknown: UnknownCategoryCounter
) -> None:
    served.pin = pin = pins[served.name]
    try:
        scorer = load_artifact(artifacts, served.name, pin.version, pin.artifact_digest)
        served.current = LoadedModel(scorer, pin, unknown=unknown)
    except ArtifactError as error:
        served.load_error = f"version {pin.version} could not be loaded, no version is served: {error}"
        log.error("model '%s': %s", served.name, served.load_error)  # noqa: TRY400  # the message is complete
    else:
        log.info("model '%s': serving version %s, as pinned", served.name, pin.version)
