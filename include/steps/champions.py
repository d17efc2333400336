"""Which version scores a partition: the champion of now, the champion of then, or one that somebody named."""

from __future__ import annotations

from include.errors import NoChampionAtTimeError, NoChampionError
from include.records import Period, ScoreMode
from include.resources import Resources
from include.spec import ModelSpec


def resolve_version(
    spec: ModelSpec, period: Period, resources: Resources, *, version: int | None = None, mode: ScoreMode = "champion"
) -> tuple[int, ScoreMode]:
    """Return the version that is to score `period`, and how it was chosen, which the ledger keeps.

    Parameters
    ----------
    version : int, optional
        A named version; then `mode` does not matter.
    mode : {"champion", "champion_then"}
        The champion of this moment, or the one that was in force when the partition ended: a promotion
        at that very moment counts.

    Raises
    ------
    UnknownVersionError
        When the named version was never registered.
    NoChampionError
        When there is no champion; `NoChampionAtTimeError` when there was none yet. A model that was made
        later may have learned from the very rows of that time, so it scores them only when it is named.
    """
    ledger = resources.ledger
    if version is not None:
        return ledger.version(spec.name, version).version, "named"
    champion = ledger.champion(spec.name)
    if champion is None:
        raise NoChampionError(spec.name)
    if mode == "champion":
        return champion.to_version, "champion"
    then = ledger.champion_at(spec.name, period.end)
    if then is None:
        first = ledger.promotions(spec.name)[0]
        raise NoChampionAtTimeError(spec.name, str(period), first.to_version, first.promoted_at)
    return then.to_version, "champion_then"
