"""How far a challenger's answers may be from the champion's on the same rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.spec.base import SpecModel

Share = Annotated[float, Field(ge=0, le=1)]


class DivergenceBounds(SpecModel):
    """Three bounds on the distance of two models' answers to the same rows; None: any distance.

    Rank correlation is Spearman's, the mean over the answer columns. A decile move is a row that stands in
    another tenth of the scores; a label flip, one that gets another class.
    """

    min_rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    max_decile_moves: Share | None = None
    max_label_flips: Share | None = None

    @property
    def bounded(self) -> bool:
        """Whether any bound is declared."""
        return any(
            bound is not None for bound in (self.min_rank_correlation, self.max_decile_moves, self.max_label_flips)
        )
