"""Which version a rollback leads to, read from the promotions of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from include.errors import NoChampionError, RollbackTargetError
from include.records import Promotion


def standing_champions(moves: Iterable[int]) -> tuple[int, ...]:
    """Return the champions that nobody turned away from, in the order in which they were promoted.

    A promotion of a version that stands is a rollback to it: the versions promoted after it are rolled back, and no
    longer stand until they are promoted again.

    Parameters
    ----------
    moves : iterable of int
        The version of each promotion, oldest first.

    Returns
    -------
    tuple of int
        The last is the present champion, the one before it is where a rollback leads to. Empty without a promotion.
    """
    standing: list[int] = []
    for version in moves:
        if version in standing:
            del standing[standing.index(version) + 1 :]
        else:
            standing.append(version)
    return tuple(standing)


def is_rollback(promotion: Promotion, earlier: Iterable[Promotion]) -> bool:
    """Return whether a promotion went back to a version that stood below the champion after the `earlier` ones."""
    return promotion.to_version in standing_champions(each.to_version for each in earlier)[:-1]


def rollback_target(model: str, promotions: Sequence[Promotion], version: int | None = None) -> int:
    """Return the version that a rollback makes champion.

    Parameters
    ----------
    promotions : sequence of Promotion
        All of the model, oldest first.
    version : int, optional
        The version that a person names; by default the champion before the present one.

    Raises
    ------
    NoChampionError
        When no version was ever promoted.
    RollbackTargetError
        When nothing is left to roll back to, or the named version is not an earlier champion that stands.
    """
    if not promotions:
        raise NoChampionError(model)
    moved = [each.to_version for each in promotions]
    standing = standing_champions(moved)
    champion, earlier = standing[-1], standing[:-1]
    away = [each for each in dict.fromkeys(moved) if each not in standing]
    gone = f"; rolled back: {_listed(away)}" if away else ""
    if version is None:
        if earlier:
            return earlier[-1]
        raise RollbackTargetError(
            model,
            f"a version that was champion before version {champion}, and was not rolled back",
            f"none{gone}",
            f"To make another version champion, promote it: `sluice promote {model} VERSION --reason ...`.",
        )
    if version in earlier:
        return version
    found = f"version {version}, which "
    if version == champion:
        found += "is the champion"
    elif version in away:
        found += "was rolled back"
    else:
        found += "was never champion"
    raise RollbackTargetError(
        model,
        f"an earlier champion that was not rolled back ({_listed(earlier) or 'there is none'})",
        found,
        f"To make it champion all the same, promote it: `sluice promote {model} {version} --reason ...`.",
    )


def _listed(versions: Iterable[int]) -> str:
    return ", ".join(f"version {each}" for each in versions)
