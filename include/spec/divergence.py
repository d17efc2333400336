"""Bounds on the distance between a challenger's predictions and the champion's on the same rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.spec.base import SpecModel

Share = Annotated[float, Field(ge=0, le=1)]


class DivergenceBounds(SpecModel):
    """Three bounds on the distance between two models' predictions on the same rows; None: no bound.

    The rank correlation is Spearman's, averaged over the output columns. A decile move is a row whose
    score is in another decile; a label flip is a row with another predicted class.
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
