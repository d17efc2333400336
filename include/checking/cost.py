"""What a whole training costs: a value alone, which the command prints without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.checking.trial import TrialFit
    from include.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """An estimate of a whole training.

    Attributes
    ----------
    rows : int
        Labelled rows of the window, holdout included; where counting them takes too long, about.
    fit_seconds : float
        Of the fit alone, by the time that two parts of the sample took.
    memory_mib : int
        An upper estimate.
    """

    rows: int
    fit_seconds: float
    memory_mib: int


def estimate_cost(spec: ModelSpec, trial: TrialFit, rows: int) -> TrainingCost:
    """Estimate what a training on all `rows` of the window takes."""
    from include.training import estimate_memory_mib  # a third of a second of imports

    seconds = trial.seconds * (rows / max(1, trial.rows)) ** trial.exponent
    return TrainingCost(rows, seconds, estimate_memory_mib(spec, rows))
