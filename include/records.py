"""The frozen values that pass between steps: references, figures and verdicts, never rows.

Each turns into JSON with ``to_plain`` and back with ``from_plain``: so it crosses a task boundary in Airflow.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

Purpose = Literal["train", "score"]


class Record(BaseModel):
    """A frozen value with an exact round trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON-ready built-in types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Return the record that ``to_plain`` made `plain` of."""
        return cls.model_validate(plain)


class Period(Record):
    """The half-open stretch of event time ``[start, end)``, in UTC."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a period must end after its start; found {self.start} to {self.end}")
        return self

    @classmethod
    def of_day(cls, day: date) -> Self:
        """Return the UTC day `day` as a period."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start=start, end=start + timedelta(days=1))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


class Split(Record):
    """Where training ends and the holdout begins: the holdout is always the later of the two."""

    train: Period
    holdout: Period

    @model_validator(mode="after")
    def _holdout_is_later(self) -> Self:
        if self.holdout.start < self.train.end:
            raise ValueError("the holdout must start when training has ended, or later")
        return self

    @property
    def whole(self) -> Period:
        """The period from the first training row to the last holdout row."""
        return Period(start=self.train.start, end=self.holdout.end)


class CheckResult(Record):
    """One expectation of a data contract, held against the data."""

    expectation: str
    column: str | None
    passed: bool
    sentence: str
    observed: str | None = None
    failing_count: int = 0
    offending_keys: tuple[str, ...] = ()


class ValidationReport(Record):
    """What a data contract said of one period."""

    model: str
    run_id: str
    purpose: Purpose
    period: Period
    rows: int
    checks: tuple[CheckResult, ...]
    docs_path: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


class SnapshotRef(Record):
    """The rows that a version is trained and judged on: one Parquet file, named by its digest."""

    model: str
    path: str
    digest: str
    split: Split
    train_rows: int
    holdout_rows: int


class FittedCandidate(Record):
    """A fitted estimator and its baseline, in the run's working folder, with the files' digests."""

    model: str
    run_id: str
    folder: str
    digests: dict[str, str]
    snapshot: SnapshotRef
    fit_seconds: float


class ParityReport(Record):
    """How far ONNX is from scikit-learn on the whole holdout."""

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
    """A candidate as files that can be served, with their digests."""

    fitted: FittedCandidate
    parity: ParityReport
    digests: dict[str, str]


class Evaluation(Record):
    """Candidate, champion and baseline on the same holdout rows.

    ``champion`` is None when there is no champion, or when it cannot answer these rows;
    ``champion_note`` then says why. ``champion_fence`` is the fence that was in force when they were
    compared: a promotion on this evidence holds only while it still is.
    """

    model: str
    rows: int
    candidate: dict[str, float]
    baseline: dict[str, float]
    champion: dict[str, float] | None = None
    champion_version: int | None = None
    champion_fence: int = 0
    champion_note: str | None = None


class GateResult(Record):
    """One gate's figure, bound and verdict, with a sentence that a person understands."""

    gate: str
    metric: str
    figure: float | None
    bound: float | None
    passed: bool
    sentence: str


class Decision(Record):
    """Whether a candidate may become the champion, and the reasons."""

    accepted: bool
    gates: tuple[GateResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that said no."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)


class ModelVersion(Record):
    """A registered version: what the ledger holds of it. Never changed once written."""

    model: str
    version: int
    artifact_digest: str
    spec_digest: str
    data_digest: str
    run_id: str
    evaluation: Evaluation
    decision: Decision
    created_at: AwareDatetime

    @property
    def evidence_digest(self) -> str:
        """SHA-256 of everything above: what a promotion was decided on."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Promotion(Record):
    """One move of the champion; the one with the highest fence is in force."""

    model: str
    fence: int
    from_version: int | None
    to_version: int
    actor: str
    reason: str
    evidence_digest: str
    at: AwareDatetime


class PublishedPartition(Record):
    """The ledger's row of one publication of a score partition."""

    model: str
    partition_start: AwareDatetime
    partition_end: AwareDatetime
    version: int
    artifact_digest: str
    row_count: int
    rows_digest: str
    run_id: str
    fence: int
    published_at: AwareDatetime


class Alert(Record):
    """What an operator is told when something failed."""

    model: str | None
    dag_id: str
    task_id: str | None
    run_id: str
    try_number: int | None
    error: str
    log_url: str | None
    at: AwareDatetime
