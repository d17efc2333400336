"""Errors of decisions of people on the champion: promotions and rollbacks, and their reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from include.errors.base import SluiceError

HELD: Final = "SL005"
OLDER_DATA: Final = "SL006"
"""The SQLSTATEs with which the database refuses the promotion of a retrain; see the migrations."""


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


class NotPromotedError(SluiceError):
    """A retrain registered a version and does not promote it, although the gates accept it. No failure: a refusal."""

    alerts = False


class PromotionHeldError(NotPromotedError):
    """Somebody holds the promotions of the model.

    Parameters
    ----------
    hold : str
        Who holds them, since and until when, and why.
    """

    def __init__(self, model: str, version: int, hold: str) -> None:
        super().__init__(
            f"version {version} of '{model}' is registered and not promoted: {hold}. The champion stays. To promote it "
            f"all the same, an operator names it: `sluice promote {model} {version} --reason ...`. To end the hold: "
            f"`sluice hold {model} --lift --reason ...`."
        )
        self.model, self.version = model, version


class OlderDataError(NotPromotedError):
    """The data of the version end before those of the champion.

    Parameters
    ----------
    data_end, champion_end : datetime
        Where the holdout of the version and of the champion ends. The former is None when it is unknown.
    """

    def __init__(
        self, model: str, version: int, data_end: datetime | None, champion: int, champion_end: datetime
    ) -> None:
        found = "data whose end is unknown" if data_end is None else f"data that end at {_minute(data_end)}"
        super().__init__(
            f"version {version} of '{model}' is registered and not promoted: expected data that end at "
            f"{_minute(champion_end)} or later, as those of the champion (version {champion}) do; found {found}. The "
            f"champion stays. To promote it all the same: `sluice promote {model} {version} --reason ...`."
        )
        self.model, self.version, self.champion = model, version, champion


class MissingVersionError(SluiceError):
    """The form asks to move the champion, and names no version."""

    alerts = False

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model '{model}': expected the version to make champion; found none. Nothing was changed. Fill in the "
            f"field `version`: `sluice versions {model}` lists them."
        )
        self.model = model


class HoldError(SluiceError):
    """A hold cannot be set or lifted as it was asked for."""

    alerts = False

    def __init__(self, model: str, expected: str, found: str, advice: str) -> None:
        super().__init__(f"hold of '{model}': expected {expected}; found {found}. Nothing was changed. {advice}")
        self.model = model


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
