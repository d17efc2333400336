"""From which probability on a binary model predicts its second class."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from include.spec.base import SpecModel

Share = Annotated[float, Field(gt=0, lt=1)]


class DecisionThreshold(SpecModel):
    """The threshold on the probability of the second class. Give one of the four.

    All but `value` are chosen at each retrain, on the last fifth of the training rows, by a copy of the estimator that
    did not see them.

    Parameters
    ----------
    value : float, optional
        The threshold itself.
    maximize : {"f1"}, optional
        The threshold with the highest F1.
    costs : tuple of float, optional
        The threshold with the lowest cost: of a false positive, and of a false negative.
    positive_rate : float, optional
        The lowest threshold at which at most this share of the rows is predicted positive.
    """

    value: Share | None = None
    maximize: Literal["f1"] | None = None
    costs: tuple[PositiveFloat, PositiveFloat] | None = None
    positive_rate: Share | None = None

    @model_validator(mode="after")
    def _is_one_of_four(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of {', '.join(type(self).model_fields)}; found {', '.join(given) or 'none'}"
            )
        return self
