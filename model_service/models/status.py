"""The status of a served model: an enumeration for programs, and a sentence for people."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from model_service.models.registry import ServedModel


class ModelState(StrEnum):
    """Whether and why a model answers."""

    SERVING = "serving"
    LOADING = "loading"
    NO_CHAMPION = "no_champion"
    LOAD_FAILED = "load_failed"
    PINNED = "pinned"
    UNKNOWN = "unknown"


class ModelStatus(msgspec.Struct):
    """Whether a model answers, and with which version; `load_error` is only for callers that may see it."""

    state: ModelState
    message: str
    version: int | None
    champion: int | None
    load_error: str | UnsetType | None = UNSET


def status_of(served: ServedModel) -> ModelStatus:
    """Return the status of a model, without the error."""
    state, message = _state_and_message(served)
    current, champion = served.current, served.champion
    return ModelStatus(state, message, current.version if current else None, champion.to_version if champion else None)


def _state_and_message(served: ServedModel) -> tuple[ModelState, str]:
    current, champion, pin = served.current, served.champion, served.pin
    if pin is not None:
        if current is not None:
            return ModelState.PINNED, f"serving version {current.version}, as pinned"
        return ModelState.LOAD_FAILED, f"the pinned version {pin.version} could not be loaded"
    if champion is None:
        if served.champion_known:
            return ModelState.NO_CHAMPION, "no version was promoted yet"
        return ModelState.UNKNOWN, "the ledger was not read yet"
    version = champion.to_version
    problem = "could not be loaded" if served.load_error else "is being loaded"
    if current is None:
        state = ModelState.LOAD_FAILED if served.load_error else ModelState.LOADING
        return state, f"the champion, version {version}, {problem}"
    if current.promotion != champion:
        return ModelState.SERVING, f"serving version {current.version}; the champion, version {version}, {problem}"
    return ModelState.SERVING, f"serving the champion, version {version}"
