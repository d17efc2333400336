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
    """How a partition will be scored: by which version, in how many shards.

    `attempt` is the plan's number among all attempts at this partition: a newer plan fences this one.
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


class RemovedPartition(Record):
    """The ledger's row of a publication whose rows retention has removed."""

    model: str
    partition_start: AwareDatetime
    sequence: int
    row_count: int
    reason: str
    removed_at: AwareDatetime
