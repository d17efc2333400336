"""Errors of challengers, which score in shadow."""

from __future__ import annotations

from collections.abc import Sequence

from include.errors.base import SluiceError


class ChallengerIncompatibleError(SluiceError):
    """A challenger cannot predict the champion's requests, so the two cannot be compared."""

    def __init__(self, model: str, version: int, why: str) -> None:
        super().__init__(
            f"version {version} of '{model}' cannot be compared with the champion on sampled requests: {why}. "
            f"Nothing was stored. Choose another with `sluice shadow set {model} VERSION`, or none with "
            f"`sluice shadow unset {model}`."
        )
        self.model, self.version, self.why = model, version, why


class ShadowBoundsError(SluiceError):
    """A challenger's scores differ from the champion's by more than the declared bounds."""

    def __init__(self, model: str, version: int, reasons: Sequence[str]) -> None:
        super().__init__(
            f"version {version} of '{model}' is not promoted: {'; '.join(reasons)}. The champion stays. See "
            "sluice.shadow_divergence. If the difference is intended, change the bounds of `shadow` in spec.py."
        )
        self.model, self.version, self.reasons = model, version, tuple(reasons)
