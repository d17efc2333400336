"""Score partitions, from plan to publication."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Period, Record

ScoreMode = Literal["champion", "champion_then", "named"]
"""Who scores: the champion of now, the champion of when the partition ended, or a version that somebody named."""


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
    """How one partition is going to be scored: by which version, in how many shards.

    `attempt` is the plan's number among all attempts at this partition: a newer plan fences this one.
    """

    model: str
    period: Period
    run_id: str
    attempt: int
    version: int
    artifact_digest: str
    mode: ScoreMode
    rows: int
    shards: int


class StagedShard(Record):
    """One shard's scores in a staging table that nobody reads yet, and what they are like.

    `row_count` is what the database says it took, and equals the rows read and scored. `score_sums` holds
    the sum of each answer column and `label_counts` how many rows each class has, for the declared bounds.
    The seconds are those in which reading, predicting and writing were at work; they overlap.
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
    """The ledger's row of one publication of a score partition."""

    model: str
    partition_start: AwareDatetime
    partition_end: AwareDatetime
    version: int
    artifact_digest: str
    row_count: int
    rows_digest: str
    run_id: str
    sequence: int
    published_at: AwareDatetime
    mode: ScoreMode
    shards: int
    attempt: int


class RemovedPartition(Record):
    """The ledger's row of a publication whose rows retention has removed."""

    model: str
    partition_start: AwareDatetime
    sequence: int
    row_count: int
    reason: str
    removed_at: AwareDatetime
