"""Online parity: the predictions of the service for a sample of a partition, compared with the batch scores."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record

ParityVerdict = Literal["equal", "differs", "not_checked"]


class ParityCheck(Record):
    """One check of one partition, as stored in ``sluice.parity_check``.

    `largest_ulp` is the maximum distance between two predictions for one row, in units in the last place of single
    precision; 0 means equal bits. `reason` is why nothing was checked, or which row differs.
    """

    model: str
    partition_start: AwareDatetime
    version: int
    artifact_digest: str
    run_id: str
    verdict: ParityVerdict
    rows: int
    differing: int
    largest_ulp: int
    allowed_ulp: int
    service: str
    reason: str | None = None
    published: bool
