"""A candidate in the steps from training to its registration."""

from __future__ import annotations

from pydantic import Field

from include.records.base import Record
from include.records.data import SnapshotRef
from include.records.reproducible import Reproducibility


class FittedCandidate(Record):
    """A fitted estimator and its baseline, in the run's working folder, with the files' digests.

    `thresholds` of a binary ``candidate`` and ``baseline`` are the probabilities from which a row is predicted
    positive, if spec.py declares a decision threshold.
    """

    model: str
    run_id: str
    folder: str
    digests: dict[str, str]
    snapshot: SnapshotRef
    fit_seconds: float
    thresholds: dict[str, float] = Field(default_factory=dict)


class ParityOfRows(Record):
    """The differences between ONNX and scikit-learn on rows of one kind.

    `refused` rows have no answer in either: scikit-learn's is not finite, and the service rejects them.
    """

    kind: str
    rows: int
    largest_difference: float
    changed_labels: int
    refused: int = 0


class ParityReport(Record):
    """The differences between ONNX and scikit-learn on the holdout, and on probes beside it.

    `largest_difference` and `changed_labels` are over all rows; `kinds` begin with the holdout. `batch_exact` says
    whether a row has the same bits in batches of 2 to 1,000 rows.
    """

    rows: int
    largest_difference: float
    changed_labels: int
    tolerance: float
    single_row_exact: bool
    batch_exact: bool = True
    kinds: tuple[ParityOfRows, ...] = ()

    @property
    def probes(self) -> int:
        """The number of rows that are probes, not of the holdout."""
        return sum(each.rows for each in self.kinds[1:])

    @property
    def passed(self) -> bool:
        """Whether no answer differs by more than the declared tolerance and no label changed."""
        return self.largest_difference <= self.tolerance and self.changed_labels == 0 and self.batch_exact


class ExportedCandidate(Record):
    """A candidate as files that can be served, with their digests.

    `reproducibility` is None when it was trained once only.
    """

    fitted: FittedCandidate
    parity: ParityReport
    digests: dict[str, str]
    reproducibility: Reproducibility | None = None
