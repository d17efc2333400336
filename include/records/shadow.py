"""How far a challenger's scores are from the champion's."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record


class Divergence(Record):
    """How far a challenger's answers to some rows are from the champion's.

    Parameters
    ----------
    rank_correlation : float or None
        Spearman's, the mean over the answer columns; None where all answers of one of the two are equal.
    decile_moves : float
        Share of rows that stand in another tenth of the challenger's scores than of the champion's.
    label_flips : float or None
        Share of rows that get another class; None for a regression.
    """

    rank_correlation: float | None
    decile_moves: float
    label_flips: float | None

    @property
    def sentence(self) -> str:
        """The figures in a line."""
        rank = "not defined" if self.rank_correlation is None else f"{self.rank_correlation:.4f}"
        flips = "" if self.label_flips is None else f", {self.label_flips:.2%} of labels flipped"
        return f"rank correlation {rank}, {self.decile_moves:.2%} of rows in another tenth{flips}"


class ShadowDivergence(Divergence):
    """A partition scored by a challenger, beside what the champion published of it."""

    model: str
    version: int
    champion_version: int
    partition_start: AwareDatetime
    row_count: int
    run_id: str

    @property
    def sentence(self) -> str:
        """The figures in a line, and of what they are."""
        return (
            f"version {self.version} beside champion {self.champion_version} on {self.row_count:,} rows of "
            f"{self.partition_start:%Y-%m-%d %H:%M}: {super().sentence}"
        )
