"""The gate on the differences between the candidate's predictions and the champion's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from include.spec.divergence import DivergenceBounds
from include.spec.gates.base import Gate

__all__ = ["PredictionChurn"]


class PredictionChurn(DivergenceBounds, Gate):
    """The candidate's predictions on the holdout must stay close to the champion's: within each declared bound.

    The gate does not compare quality. It rejects a candidate that would change more for the users of
    the scores than was intended, even with better metrics. The first candidate passes.

    Source: Fard, Cormier, Canini, Gupta (2016), Launch and iterate: reducing prediction churn. NeurIPS.
    """

    kind: Literal["prediction_churn"] = "prediction_churn"

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if not self.bounded:
            raise ValueError(
                "a prediction_churn gate needs a bound: min_rank_correlation, max_decile_moves or max_label_flips"
            )
        return self

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        phrases = []
        if self.min_rank_correlation is not None:
            phrases.append(f"the rank correlation with the champion is at least {self.min_rank_correlation:g}")
        if self.max_decile_moves is not None:
            phrases.append(f"at most {self.max_decile_moves:.2%} of rows move to another decile")
        if self.max_label_flips is not None:
            phrases.append(f"at most {self.max_label_flips:.2%} of labels flip")
        return ", and ".join(phrases)
