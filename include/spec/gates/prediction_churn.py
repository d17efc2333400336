"""The gate on how far the candidate's answers are from the champion's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from include.spec.divergence import DivergenceBounds


class Divergence(DivergenceBounds):
    """The candidate must answer the holdout nearly as the champion does: within each bound that is declared.

    It says nothing of which is better. It stops a candidate that would change more for those who act on the
    scores than was meant, however good its metrics are. The first candidate passes.
    """

    kind: Literal["divergence"] = "divergence"

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if not self.bounded:
            raise ValueError(
                "a divergence gate needs a bound: min_rank_correlation, max_decile_moves or max_label_flips"
            )
        return self

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        told = []
        if self.min_rank_correlation is not None:
            told.append(f"its rank correlation with the champion is at least {self.min_rank_correlation:g}")
        if self.max_decile_moves is not None:
            told.append(f"at most {self.max_decile_moves:.2%} of rows move to another tenth")
        if self.max_label_flips is not None:
            told.append(f"at most {self.max_label_flips:.2%} of labels flip")
        return ", and ".join(told)
