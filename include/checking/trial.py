"""The estimator is tried in a process of its own, which imports scikit-learn while the database is asked.

Those imports take longer than anything else in a check of a small model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from include.checking.places import Places
from include.errors import Finding
from include.spec import FeatureQuery, ModelSpec
from include.time_limit import LimitedProcess

if TYPE_CHECKING:  # the process imports them for itself
    import pyarrow as pa

    from include.records import Split

SECONDS: Final = 60.0
"""How long a part of the trial may take."""


@dataclass(frozen=True, slots=True)
class TrialFit:
    """What a trial found, in plain values."""

    faults: tuple[tuple[str, str, str], ...] = ()
    """Kind of the finding, its feature or step, its sentence."""
    rows: int = 0
    seconds: float = 0.0
    exponent: float = 1.0


class EstimatorTrial:
    """Tries the estimator of a declaration. The process starts at once, and ends with the context.

    Parameters
    ----------
    spec : ModelSpec
    places : Places
    """

    def __init__(self, spec: ModelSpec, places: Places) -> None:
        self._process = LimitedProcess[Any, Any](partial(_answer, spec, places), "trial of the estimator")
        self._process.start(None)
        self._findings: list[Finding] | None = None

    def __enter__(self) -> EstimatorTrial:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.__exit__(*exception)

    def findings(self) -> list[Finding]:
        """Return what is wrong with the estimator, for which no row is needed.

        Raises
        ------
        TimeLimitError
            When it is not built within a minute.
        """
        if self._findings is None:
            self._findings = self._process.result(seconds=SECONDS, step="construction of the estimator")
        return self._findings

    def train(self, query: FeatureQuery, rows: pa.Table, split: Split) -> tuple[list[Finding], TrialFit]:
        """Fit, convert and compare an estimator without findings on a sample of labelled rows.

        Raises
        ------
        NotEnoughDataError
            When the sample has too few rows, or lacks a class.
        TimeLimitError
            When it takes longer than a minute.
        """
        self._process.start((query, rows, split))
        found: tuple[list[Finding], TrialFit] = self._process.result(seconds=SECONDS, step="trial of the estimator")
        return found


def _answer(spec: ModelSpec, places: Places, request: tuple[FeatureQuery, pa.Table, Split] | None) -> object:
    from include.checking import training

    if request is None:
        return training.check_estimator(spec, places)
    return training.try_training(spec, *request, places)
