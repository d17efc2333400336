"""A service that is told what to serve: no champion is asked for, no promotion followed.

A rehearsal starts one over a candidate that is in no ledger yet; whoever has only a folder of artifacts
can serve it so. Everything else is as ever, and what needs a database answers 503 when there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from include.errors import ArtifactError
from include.models import declared_models
from include.registry import ArtifactStore
from include.settings import Pin, Settings
from model_service.loading import load_artifact
from model_service.slots import LoadedModel, ModelSlot, ModelSlots

log = logging.getLogger(__name__)

NOT_ASKED = "not asked: SLUICE_SERVICE_PINNED_VERSIONS says what is served"


def pinned_slots(settings: Settings) -> ModelSlots:
    """Return slots filled with exactly what ``settings.service_pinned_versions`` names.

    An artifact that is refused leaves its slot empty, with the reason: the service starts, is not ready,
    and says why. It is not tried again, since whoever pins wants a verdict.
    """
    pins = settings.service_pinned_versions
    slots = ModelSlots(sorted(pins))
    slots.ledger_fault = NOT_ASKED
    specs = declared_models(settings.models_dir).specs
    artifacts = ArtifactStore.of(settings)
    for slot in slots:
        slot.spec = specs.get(slot.name)
        _fill(slot, pins, artifacts)
    return slots


def _fill(slot: ModelSlot, pins: Mapping[str, Pin], artifacts: ArtifactStore) -> None:
    slot.pin = pin = pins[slot.name]
    try:
        slot.current = LoadedModel(load_artifact(artifacts, slot.name, pin.version, pin.artifact_digest), pin)
    except ArtifactError as error:
        slot.fault = f"version {pin.version} was refused, nothing is served: {error}"
        log.error("model '%s': %s", slot.name, slot.fault)  # noqa: TRY400  # the message tells all
    else:
        log.info("model '%s' is served by version %s, as pinned", slot.name, pin.version)
