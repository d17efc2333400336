"""Counts categories that a model does not know, where they are accepted and scored as if they were missing."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Any

from include.inference.feature_types import FeatureType, feature_type
from include.inference.model_signature import ModelSignature


class UnknownCategoryCounter:
    """Counts values by model and feature; many threads may count at once."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = Lock()

    def add(self, model: str, feature: str, values: int) -> None:
        """Count so many values of a feature."""
        with self._lock:
            key = model, feature
            self._counts[key] = self._counts.get(key, 0) + values

    def take(self) -> dict[tuple[str, str], int]:
        """Return the counts since the last call, by model and feature."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


def counting_types(signature: ModelSignature, unknown: UnknownCategoryCounter | None) -> tuple[FeatureType[Any], ...]:
    """Return the types of a signature's features, which count in `unknown`; None: nowhere."""
    types = tuple(feature_type(feature) for feature in signature.features)
    if unknown is not None:
        for each in types:
            each.on_unknown = partial(unknown.add, signature.model, each.feature.name)
    return types
