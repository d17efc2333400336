"""Score partitions, from plan to publication."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from include.records.base import Period, Record

ScoreMode = Literal["champion", "champion_then", "named"]
"""Who scores: the champion of now, the champion of when the partition ended, or a version that somebody named."""


class UnknownCategories(Record):
    """The rows of a partition with a category of a feature that the version does not know, and takes for missing.

    Parameters
    ----------
    rows : int
    near : dict of str to str
        The most frequent of these categories that look like one that is known, each with that one:
        ``{"MALE": "male"}``.
    """

    feature: str
    rows: int
    near: dict[str, str] = Field(default_factory=dict)

    def sentence(self, of: int, version: int) -> str:
        """Return what was found in a partition of `of` rows, in one sentence."""
        near = ", ".join(f"'{value}' looks like '{known}'" for value, known in self.near.items())
        return (
            f"column '{self.feature}': {self.rows:,} of {of:,} rows ({self.rows / of:.0%}) have a category that "
            f"version {version} does not know, and are scored as if it were missing{f': {near}' if near else ''}."
        )


class Shard(Record):
    """A part of a partition's rows: those whose key hashes to `number`, of `count` shards.

    Parameters
    ----------
    table : str
        The table in schema ``staging`` whose hash partitions the shards become, ready for SQL.
    """

    table: str
    count: int
    number: int


class ScorePlan(Record):
    """How a partition will be scored: by which version, in how many shards.

    `attempt` is the plan's number among all attempts at this partition: a newer plan fences this one. `spec_digest` is
    that of the declaration with which the run began; empty if it is not known.
    """

    model: str
    period: Period
    run_id: str
    attempt: int
    version: int
    artifact_digest: str
    query_digest: str
    mode: ScoreMode
    rows: int
    shards: int
    source_digest: str | None = None
    unknown_categories: tuple[UnknownCategories, ...] = ()
    spec_digest: str = ""


class StagedShard(Record):
    """One shard's scores in a staging table, not published yet, with their counts and sums.

    `row_count` is the number that the database reports as written; it equals the rows read and scored. For the declared
    bounds, `score_sums` has the sum of each prediction column, and `label_counts` the rows of each class. The seconds
    are those spent on reading, predicting and writing; they overlap.
    """

    model: str
    shard: int
    attempt: int
    table: str
    row_count: int
    rows_digest: str
    score_sums: dict[str, float]
    label_counts: dict[str, int]
    read_seconds: float
    predict_seconds: float
    write_seconds: float
    key_seconds: float


class PublishedPartition(Record):
    """The ledger's row of one publication of a score partition.

    `query_digest` is the SHA-256 of the ``features.sql`` that its rows were read with: that of the version.
    `source_digest` is the digest of these rows, see `include.source_digest`, and `unknown_categories` has the features
    of which some have an unknown category; both are None of a publication from before they were recorded.
    """

    model: str
    partition_start: AwareDatetime
    partition_end: AwareDatetime
    version: int
    artifact_digest: str
    query_digest: str
    row_count: int
    rows_digest: str
    run_id: str
    sequence: int
    published_at: AwareDatetime
    mode: ScoreMode
    shards: int
    attempt: int
    source_digest: str | None = None
    unknown_categories: tuple[UnknownCategories, ...] | None = None

    @property
    def period(self) -> Period:
        """The period of event time that the partition holds."""
        return Period(start=self.partition_start, end=self.partition_end)

    def unknown_over(self, share: float) -> tuple[str, ...]:
        """Return a sentence for each feature of which more than this share of the rows has an unknown category."""
        unknown = (each for each in self.unknown_categories or () if each.rows > share * self.row_count)
        return tuple(each.sentence(self.row_count, self.version) for each in unknown)


class LatePartition(Record):
    """A published partition that does not agree with its source any more, and why.

    Parameters
    ----------
    published : PublishedPartition
        Its `row_count` is the number of rows that the source had.
    reason : {"changed", "unstable", "unreadable"}
        Rows were inserted, deleted or changed; its ``features.sql`` gives other rows each time that it is read, so that
        nothing can be said; or it cannot be read any more.
    rows : int or None
        The number of rows that the source has now; None if it cannot be read.
    source_digest : str or None
        Their digest.
    error : str or None
        Why it cannot be read.
    """

    published: PublishedPartition
    reason: Literal["changed", "unstable", "unreadable"]
    rows: int | None = None
    source_digest: str | None = None
    error: str | None = None

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        published = self.published
        partition = f"partition {published.period}"
        if self.reason == "unreadable":
            return (
                f"{partition}: its rows cannot be compared with those that version {published.version} scored: "
                f"{self.error}"
            )
        if self.reason == "unstable":
            return (
                f"{partition}: its rows cannot be compared: the features.sql of version {published.version} gives "
                "other rows each time that it is read. Look for random(), now(), LIMIT without ORDER BY, and sums of "
                "floating-point numbers in no order."
            )
        return (
            f"{partition}: the source has changed since it was scored: {published.row_count:,} rows then, "
            f"{self.rows:,} now{', with other values' if self.rows == published.row_count else ''}."
        )


class LateRows(Record):
    """The comparison of published partitions with their source.

    Parameters
    ----------
    compared : int
        The number of partitions that were compared.
    unknown : int
        The number of partitions that were not, because they were published before digests were recorded.
    found : tuple of LatePartition
        Those that do not agree with their source.
    rescored : tuple of PublishedPartition
        Those of them that were scored again.
    """

    model: str
    compared: int
    unknown: int
    found: tuple[LatePartition, ...] = ()
    rescored: tuple[PublishedPartition, ...] = ()

    @property
    def changed(self) -> tuple[LatePartition, ...]:
        """The partitions that have late rows."""
        return tuple(each for each in self.found if each.reason == "changed")


class RemovedPartition(Record):
    """The ledger's row of a publication whose rows retention has removed."""

    model: str
    partition_start: AwareDatetime
    sequence: int
    row_count: int
    reason: str
    removed_at: AwareDatetime
