"""The same number twice: what a sample of a partition got from the running service, beside what batch scoring gave."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record

ParityVerdict = Literal["equal", "differs", "not_checked"]


class ParityCheck(Record):
    """One look at one partition, as ``sluice.parity_check`` keeps it.

    `largest_ulp` is the greatest distance between two answers to one row, in units of the last place of
    single precision: 0 is the same bits. `reason` says why nothing was checked, or which row differs.
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
