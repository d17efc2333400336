"""A service that is told what to serve: no champion is asked for, no promotion followed.

A rehearsal starts one over a candidate that is in no ledger yet; whoever has only a folder of artifacts
can serve it so. Everything else is as ever, and what needs a database answers 503 when there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from include.errors import ArtifactError
from include.models import declared_models
from include.registry import ArtifactStore, open_artifact_store
from include.settings import Pin, Settings
from model_service.models.loading import load_artifact
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel

log = logging.getLogger(__name__)

NOT_ASKED = "not asked: SLUICE_SERVICE_PINNED_VERSIONS says what is served"


def pinned_registry(settings: Settings) -> ModelRegistry:
    """Return registry filled with exactly what ``settings.service_pinned_versions`` names.

    An artifact that is refused leaves its served empty, with the reason: the service starts, is not ready,
    and says why. It is not tried again, since whoever pins wants a verdict.
    """
    pins = settings.service_pinned_versions
    registry = ModelRegistry(sorted(pins))
    registry.ledger_error = NOT_ASKED
    specs = declared_models(settings.models_dir).specs
    artifacts = open_artifact_store(settings)
    for served in registry:
        served.spec = specs.get(served.name)
        _fill(served, pins, artifacts)
    return registry


def _fill(served: ServedModel, pins: Mapping[str, Pin], artifacts: ArtifactStore) -> None:
    served.pin = pin = pins[served.name]
    try:
        served.current = LoadedModel(load_artifact(artifacts, served.name, pin.version, pin.artifact_digest), pin)
    except ArtifactError as error:
        served.load_error = f"version {pin.version} was refused, nothing is served: {error}"
        log.error("model '%s': %s", served.name, served.load_error)  # noqa: TRY400  # the message tells all
    else:
        log.info("model '%s' is served by version %s, as pinned", served.name, pin.version)
