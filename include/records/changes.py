"""What an edit of a declaration means: the differences to the champion's declaration, and what follows from each."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import AwareDatetime

from include.records.base import Record

ChangeClass = Literal["compatible", "needs_retrain", "needs_backfill", "breaks_readers"]
"""What an edit means, the least serious first.

``compatible``: nothing that is published or served becomes another thing. ``needs_retrain``: it takes effect with the
next version, or the champion cannot score until then. ``needs_backfill``: published partitions are not what would be
published from then on. ``breaks_readers``: SQL on the scores, or clients of the service, fail or read something else.
"""

CHANGE_CLASSES: tuple[ChangeClass, ...] = get_args(ChangeClass)


class ChangeEffect(Record):
    """One thing that a change means: its class, the reason, and what to do next (empty: nothing)."""

    change_class: ChangeClass
    reason: str
    next_step: str = ""


class DeclarationChange(Record):
    """One changed field.

    Parameters
    ----------
    field : str
        Its path, such as ``features.weight.unit``; ``estimator`` is code, and ``features.sql`` the query.
    before, after : str or None
        The champion's value and the present one, as people write them; None: it is not there.
    """

    field: str
    before: str | None
    after: str | None
    effects: tuple[ChangeEffect, ...]

    @property
    def classes(self) -> tuple[ChangeClass, ...]:
        """The classes of its effects, the least serious first."""
        return _in_order({effect.change_class for effect in self.effects})


class RowComparison(Record):
    """The entity keys of a published partition, by the champion's query and by the present declaration."""

    partition_start: AwareDatetime
    before: int
    after: int
    only_before: int
    only_after: int

    @property
    def same(self) -> bool:
        """Whether both give the same keys."""
        return not self.only_before and not self.only_after


class TouchedVersion(Record):
    """A version that is in use, and why it could no longer be used under the present declaration.

    Parameters
    ----------
    role : str
        ``champion``, ``challenger``, ``rollback`` (the one that `sluice rollback` goes to) or ``candidate`` (the newest
        accepted one, which was never promoted).
    obstacles : tuple of str
        A sentence each; empty: it can be used as before.
    """

    version: int
    role: Literal["champion", "challenger", "rollback", "candidate"]
    obstacles: tuple[str, ...] = ()


class PartitionSpan(Record):
    """Published partitions: how many, the start of the first and the start of the last."""

    count: int
    first: AwareDatetime
    last: AwareDatetime


class ChangePlan(Record):
    """What the present declaration of a model means for what is in production.

    Parameters
    ----------
    version : int or None
        The champion, with whose declaration the present one is compared; None: there is no champion.
    obstacles : tuple of str
        Why a retrain of the present declaration would fail, as far as it can be seen without one.
    warnings : tuple of str
        What else to know.
    partitions : PartitionSpan or None
        The published partitions, if the changes touch them.
    relations : tuple of str
        The tables and views of scores that the changes touch.
    dags : tuple of str
        The DAGs that change, each with the change.
    """

    model: str
    version: int | None
    changes: tuple[DeclarationChange, ...] = ()
    versions: tuple[TouchedVersion, ...] = ()
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: RowComparison | None = None
    partitions: PartitionSpan | None = None
    relations: tuple[str, ...] = ()
    dags: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[ChangeClass, ...]:
        """The classes of all changes, the least serious first."""
        return _in_order({each for change in self.changes for each in change.classes})

    @property
    def stops_scoring(self) -> bool:
        """Whether the champion could not score any more, until a version of the present declaration is promoted."""
        return any(each.obstacles for each in self.versions if each.role == "champion")

    @property
    def breaks(self) -> bool:
        """Whether readers break, scoring stops, or no version of the present declaration could be trained."""
        return "breaks_readers" in self.classes or self.stops_scoring or bool(self.obstacles)


def _in_order(found: set[ChangeClass]) -> tuple[ChangeClass, ...]:
    return tuple(each for each in CHANGE_CLASSES if each in found)
