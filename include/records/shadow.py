"""How far a challenger's scores are from the champion's."""

from __future__ import annotations

from typing import Literal

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
    """Rows scored by a challenger, beside what the champion published, or answered online, of the same.

    Parameters
    ----------
    source : {"batch", "online"}
        A partition, which begins at `partition_start`; or a sample of requests, answered from `sampled_from`
        to `sampled_to`.
    row_count : int
        How many rows both answered.
    refused_rows : int
        Rows that the champion answered and the challenger refuses to.
    """

    model: str
    version: int
    champion_version: int
    row_count: int
    run_id: str
    source: Literal["batch", "online"] = "batch"
    partition_start: AwareDatetime | None = None
    sampled_from: AwareDatetime | None = None
    sampled_to: AwareDatetime | None = None
    refused_rows: int = 0

    @property
    def rows_of(self) -> str:
        """Which rows these are, in words."""
        if self.source == "batch":
            return f"the partition of {self.partition_start:%Y-%m-%d %H:%M}"
        return f"requests sampled from {self.sampled_from:%Y-%m-%d %H:%M} to {self.sampled_to:%Y-%m-%d %H:%M}"

    @property
    def sentence(self) -> str:
        """The figures in a line, and of what they are."""
        refused = f"; it refuses {self.refused_rows:,} rows more" if self.refused_rows else ""
        return (
            f"version {self.version} beside champion {self.champion_version} on {self.row_count:,} rows of "
            f"{self.rows_of}: {super().sentence}{refused}"
        )
