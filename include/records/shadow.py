"""The divergence of a challenger's scores from the champion's."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record


class Divergence(Record):
    """The divergence of a challenger's predictions for some rows from the champion's.

    Parameters
    ----------
    rank_correlation : float or None
        Spearman's, the mean over the prediction columns; None when one of the two predicts the same for all rows.
    decile_moves : float
        Share of rows that are in another decile of the challenger's scores than of the champion's.
    label_flips : float or None
        Share of rows with another predicted class; None for a regression.
    """

    rank_correlation: float | None
    decile_moves: float
    label_flips: float | None

    @property
    def sentence(self) -> str:
        """The numbers in one line."""
        rank = "not defined" if self.rank_correlation is None else f"{self.rank_correlation:.4f}"
        flips = "" if self.label_flips is None else f", {self.label_flips:.2%} of labels flipped"
        return f"rank correlation {rank}, {self.decile_moves:.2%} of rows in another decile{flips}"


class ShadowDivergence(Divergence):
    """A challenger's scores, compared with the champion's published scores or online predictions of the same rows.

    Parameters
    ----------
    source : {"batch", "online"}
        A partition, which begins at `partition_start`; or a sample of requests, answered from `sampled_from`
        to `sampled_to`.
    row_count : int
        Number of rows that both predicted.
    refused_rows : int
        Number of rows that the champion predicted and the challenger rejects.
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
        """A description of the rows."""
        if self.source == "batch":
            return f"the partition of {self.partition_start:%Y-%m-%d %H:%M}"
        return f"requests sampled from {self.sampled_from:%Y-%m-%d %H:%M} to {self.sampled_to:%Y-%m-%d %H:%M}"

    @property
    def sentence(self) -> str:
        """The numbers and their source in one line."""
        refused = f"; it rejected {self.refused_rows:,} more rows" if self.refused_rows else ""
        return (
            f"version {self.version} beside champion {self.champion_version} on {self.row_count:,} rows of "
            f"{self.rows_of}: {super().sentence}{refused}"
        )
