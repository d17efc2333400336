"""The deletion of a model: what it removes, and what the ledger keeps of it."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record


class ModelDeletion(Record):
    """A deletion, as the ledger holds it: versions and promotions up to the last ones are history."""

    model: str
    last_version: int
    last_sequence: int
    actor: str
    reason: str
    deleted_at: AwareDatetime

    def __str__(self) -> str:
        return f"deleted on {self.deleted_at:%Y-%m-%d %H:%M} UTC by {self.actor}: {self.reason}"


class DeletionPlan(Record):
    """Everything that the deletion of a model removes, and what keeps it from being deleted.

    Attributes
    ----------
    versions : tuple of int
        Those that the ledger keeps as history.
    champion : int or None
    partitions, rows : int
        Of the published scores.
    relations : tuple of str
        The views and tables in schema ``scores``, without the partitions.
    staging : tuple of str
        Tables in schema ``staging``.
    jobs, logged : int
        Jobs of the online service, and rows of its prediction log.
    artifacts : tuple of int
        The complete artifacts in the store.
    artifacts_at : str
        Where they are.
    folders : tuple of str
        Snapshots, work folders, Data Docs and copies of cards on this machine.
    dependents : tuple of str
        Objects that Sluice did not make, and that depend on the tables.
    begun : ModelDeletion or None
        A deletion that was recorded and may not have been finished.
    """

    model: str
    versions: tuple[int, ...]
    champion: int | None
    partitions: int
    rows: int
    relations: tuple[str, ...]
    staging: tuple[str, ...]
    jobs: int
    logged: int
    artifacts: tuple[int, ...]
    artifacts_at: str
    folders: tuple[str, ...]
    dependents: tuple[str, ...]
    begun: ModelDeletion | None
