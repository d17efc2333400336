"""The data of a run: how the window is split, the result of the data contract, and the snapshot."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from include.records.base import Period, Record
from include.records.scores import ScoreMode, UnknownCategories

Purpose = Literal["train", "score"]


class Split(Record):
    """Where training ends and the holdout begins: the holdout is always the later of the two."""

    train: Period
    holdout: Period

    @model_validator(mode="after")
    def _holdout_is_later(self) -> Self:
        if self.holdout.start < self.train.end:
            raise ValueError("the holdout must not start before the end of the training period")
        return self

    @property
    def whole(self) -> Period:
        """The period from the first training row to the last holdout row."""
        return Period(start=self.train.start, end=self.holdout.end)


class CheckResult(Record):
    """The result of one expectation of a data contract."""

    expectation: str
    column: str | None
    passed: bool
    sentence: str
    observed: str | None = None
    failing_count: int = 0
    offending_keys: tuple[str, ...] = ()


class ValidationReport(Record):
    """The result of a data contract for one period.

    The contract of a partition is that of the version that will score it: `version`, chosen as `mode` says. To train,
    both are None.

    Of a partition that passed, `source_digest` is the digest of its rows, see `include.source_digest`, and
    `unknown_categories` has every feature with rows of a category that the version does not know.

    `spec_digest` is that of the declaration with which the run began; empty if it is not known.
    """

    model: str
    run_id: str
    purpose: Purpose
    period: Period
    rows: int
    checks: tuple[CheckResult, ...]
    version: int | None = None
    mode: ScoreMode | None = None
    docs_path: str | None = None
    source_digest: str | None = None
    unknown_categories: tuple[UnknownCategories, ...] = ()
    spec_digest: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


class SnapshotRef(Record):
    """The rows that a version is trained and evaluated on: one Parquet file, named by its digest.

    `query_digest` is the SHA-256 of the ``features.sql`` that read them; `spec_digest` is that of the whole declaration
    at that time, empty if it is not known.
    """

    model: str
    path: str
    digest: str
    query_digest: str
    split: Split
    train_rows: int
    holdout_rows: int
    spec_digest: str = ""
