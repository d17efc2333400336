"""Gates: what a candidate must show before it is promoted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.spec.words import Word

Metric = Literal[
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "macro_f1", "mae", "rmse", "r2"
]  # fmt: skip

HIGHER_IS_BETTER: frozenset[str] = frozenset({"roc_auc", "average_precision", "accuracy", "macro_f1", "r2"})


class AtLeast(Word):
    """The candidate's metric must reach `bound`."""

    kind: Literal["at_least"] = "at_least"
    metric: Metric
    bound: float


class AtMost(Word):
    """The candidate's metric must not exceed `bound`."""

    kind: Literal["at_most"] = "at_most"
    metric: Metric
    bound: float


class BetterThanBaseline(Word):
    """The candidate must beat the baseline by more than `margin`."""

    kind: Literal["better_than_baseline"] = "better_than_baseline"
    metric: Metric
    margin: float = 0.0


class NotWorseThanChampion(Word):
    """The candidate may fall short of the champion by at most `margin`."""

    kind: Literal["not_worse_than_champion"] = "not_worse_than_champion"
    metric: Metric
    margin: float = 0.0


class MinimumLabels(Word):
    """The holdout must hold at least `rows` labelled rows."""

    kind: Literal["minimum_labels"] = "minimum_labels"
    rows: int


Gate = Annotated[
    AtLeast | AtMost | BetterThanBaseline | NotWorseThanChampion | MinimumLabels, Field(discriminator="kind")
]
