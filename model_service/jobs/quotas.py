"""What the jobs of one caller, and of all callers together, may take: a number in the queue, a number kept, and bytes.

Finished jobs count until they expire or are deleted. A job counts from its submission with the bytes that it takes at
most, so that no later step can exceed a quota: predicting only lowers the number. Deleted jobs free their space, but
the database had to write it: what is submitted in an hour has a quota too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from include.settings import Settings

QuotaKind = Literal["queued_jobs", "stored_jobs", "stored_bytes", "hourly_bytes"]


class Usage(NamedTuple):
    """What jobs take now, or what one job adds."""

    queued_jobs: int
    stored_jobs: int
    stored_bytes: int
    hourly_bytes: int

    def of(self, kind: QuotaKind) -> int:
        """Return the amount that a quota of `kind` limits."""
        return self.by_kind()[kind]

    def by_kind(self) -> dict[QuotaKind, int]:
        """Return the amounts by the kind of quota that limits them."""
        return {
            "queued_jobs": self.queued_jobs,
            "stored_jobs": self.stored_jobs,
            "stored_bytes": self.stored_bytes,
            "hourly_bytes": self.hourly_bytes,
        }


class Quota(NamedTuple):
    """One limit.

    Attributes
    ----------
    kind : str
    per_caller : bool
        Whether it is a limit of one caller's jobs, or of all.
    limit : int
    setting : str
        The name of the setting with the limit.
    """

    kind: QuotaKind
    per_caller: bool
    limit: int
    setting: str


class Shortage(NamedTuple):
    """A quota that a job would exceed.

    Attributes
    ----------
    quota : Quota
    used, requested : int
        What the jobs that count take, and what the job would add.
    available_at : datetime or None
        When enough will have expired; None if that cannot be told, as for the queue.
    """

    quota: Quota
    used: int
    requested: int
    available_at: datetime | None


Quotas = tuple[Quota, ...]


def quotas_of(settings: Settings) -> Quotas:
    """Return the quotas in the settings: the caller's own first, whose error tells the caller most."""

    def quota(kind: QuotaKind, field: str, *, per_caller: bool) -> Quota:
        name = f"service_job_{field}{'_per_caller' if per_caller else ''}"
        return Quota(kind, per_caller, getattr(settings, name), f"SLUICE_{name.upper()}")

    return tuple(
        quota(kind, field, per_caller=per_caller) for per_caller in (True, False) for kind, field in _FIELDS.items()
    )


_FIELDS: dict[QuotaKind, str] = {
    "stored_bytes": "storage_bytes",
    "stored_jobs": "storage_limit",
    "queued_jobs": "queue_limit",
    "hourly_bytes": "hourly_bytes",
}


def first_exceeded(quotas: Quotas, own: Usage, total: Usage, added: Usage) -> Quota | None:
    """Return the first of `quotas` that would be exceeded by `added`; None if there is room.

    Parameters
    ----------
    quotas : tuple of Quota
    own, total : Usage
        What the caller's jobs take, and what all take.
    added : Usage
    """
    for quota in quotas:
        used = (own if quota.per_caller else total).of(quota.kind)
        if used + added.of(quota.kind) > quota.limit:
            return quota
    return None
