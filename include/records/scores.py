"""Score partitions, from plan to publication."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record


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
