"""What a whole training costs: a value alone, which the command prints without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass


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
