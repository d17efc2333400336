"""Errors of decisions of people on the champion: promotions and rollbacks, and their reasons."""

from __future__ import annotations

from include.errors.base import SluiceError


class ReasonError(SluiceError):
    """A reason is missing or too short."""

    alerts = False

    def __init__(self, name: str, minimum: int, found: str, seen: int) -> None:
        shown = f"{seen} in '{found}'" if found else "none"
        super().__init__(
            f"{name}: expected a reason of at least {minimum} visible characters; found {shown}. Nothing was changed. "
            "Write why, in a sentence: the ledger keeps it permanently."
        )
        self.name = name


class RollbackTargetError(SluiceError):
    """There is no version to roll back to, or the given version is none."""

    alerts = False

    def __init__(self, model: str, expected: str, found: str, advice: str) -> None:
        super().__init__(
            f"model '{model}': expected {expected}; found {found}. The champion stays. {advice} "
            f"`sluice versions {model}` lists all versions."
        )
        self.model = model
