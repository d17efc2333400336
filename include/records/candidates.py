"""A candidate in the steps from training to its registration."""

from __future__ import annotations

from pydantic import Field

from include.records.base import Record
from include.records.data import SnapshotRef
from include.records.reproducible import Reproducibility


class FittedCandidate(Record):
    """A fitted estimator and its baseline, in the run's working folder, with the files' digests.

    `thresholds` of a binary ``candidate`` and ``baseline`` are the probabilities from which F1 counts a row as
    positive. They were chosen on training rows that were kept out of a fit for this purpose.
    """

    model: str
    run_id: str
    folder: str
    digests: dict[str, str]
    snapshot: SnapshotRef
    fit_seconds: float
    thresholds: dict[str, float] = Field(default_factory=dict)


class ParityReport(Record):
    """The differences between ONNX and scikit-learn on the whole holdout."""

    rows: int
    largest_difference: float
    changed_labels: int
    tolerance: float
    single_row_exact: bool

    @property
    def passed(self) -> bool:
        """Whether no answer differs by more than the declared tolerance and no label changed."""
        return self.largest_difference <= self.tolerance and self.changed_labels == 0


class ExportedCandidate(Record):
    """A candidate as files that can be served, with their digests.

    `reproducibility` is None when it was trained once only.
    """

    fitted: FittedCandidate
    parity: ParityReport
    digests: dict[str, str]
    reproducibility: Reproducibility | None = None
