"""Errors of scoring in the champion's shadow."""

from __future__ import annotations

from collections.abc import Sequence

from include.errors.base import SluiceError


class ShadowDisagreesError(SluiceError):
    """A challenger's scores are farther from the champion's than the declaration lets a person promote."""

    def __init__(self, model: str, version: int, reasons: Sequence[str]) -> None:
        super().__init__(
            f"version {version} of '{model}' is not promoted: {'; '.join(reasons)}. The champion stays. Look at "
            "sluice.shadow_divergence; if the difference is wanted, change the bounds of `shadow` in spec.py."
        )
        self.model, self.version, self.reasons = model, version, tuple(reasons)
