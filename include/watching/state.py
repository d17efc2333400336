"""What is known of the models and the processes at one moment: frozen values, read by the modules beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from include.spec import ModelSpec

Part = Literal["service", "airflow"]
"""A part of a deployment that may be missing: a command line without a stack has neither."""


@dataclass(frozen=True, slots=True)
class BrokenDeclaration:
    """A ``spec.py`` that cannot be read, and why."""

    model: str
    error: str


@dataclass(frozen=True, slots=True)
class ChampionState:
    """The champion of a model.

    Attributes
    ----------
    since, first_since : datetime
        When it was promoted, and when the model's first champion was.
    data_end : datetime or None
        The end of the holdout that it was evaluated on; None if the ledger does not say.
    """

    version: int
    since: datetime
    first_since: datetime
    data_end: datetime | None


@dataclass(frozen=True, slots=True)
class VersionState:
    """A registered version: the gates' decision, and whether it waits for a person."""

    version: int
    created_at: datetime
    accepted: bool
    promoted: bool
    waits_for_approval: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Publications:
    """What is published of a model.

    Attributes
    ----------
    ranges : tuple of (datetime, datetime)
        The published time as half-open ranges that do not touch, oldest first. A partition that was removed later
        counts.
    newest_start, newest_end : datetime
        The newest partition.
    newest_version : int
        The version that scored it.
    """

    ranges: tuple[tuple[datetime, datetime], ...]
    newest_start: datetime
    newest_end: datetime
    newest_version: int

    def covers(self, start: datetime, end: datetime) -> bool:
        """Return whether all of a period is published, by one partition or by several."""
        return any(begin <= start and end <= until for begin, until in self.ranges)


@dataclass(frozen=True, slots=True)
class HoldState:
    """A hold: promotions by a retrain wait until it ends, or is lifted."""

    since: datetime
    until: datetime | None
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefusedArtifact:
    """The online service could not load a version."""

    version: int
    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the ledger says. Models that were deleted are in none of it.

    Attributes
    ----------
    versions : mapping of str to tuple of VersionState
        The newest versions of each model, newest first.
    undelivered, undelivered_since : int, datetime or None
        The number of alerts that a channel has not accepted for some minutes, and the time of the oldest.
    """

    champions: Mapping[str, ChampionState] = field(default_factory=dict)
    versions: Mapping[str, tuple[VersionState, ...]] = field(default_factory=dict)
    publications: Mapping[str, Publications] = field(default_factory=dict)
    holds: Mapping[str, HoldState] = field(default_factory=dict)
    refused: Mapping[str, RefusedArtifact] = field(default_factory=dict)
    undelivered: int = 0
    undelivered_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DagState:
    """A DAG as Airflow has it. A stale one is in no file any more. `next_run` is when its next run should be made."""

    paused: bool = False
    stale: bool = False
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A DAG file that Airflow cannot import."""

    file: str
    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task that no worker has taken."""

    dag_id: str
    task_id: str
    run_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class AirflowState:
    """What Airflow's own tables say.

    Attributes
    ----------
    heartbeats : mapping of str to datetime
        The last heartbeat of ``scheduler``, ``dag_processor`` and ``triggerer``; none of a process that never ran.
    """

    dags: Mapping[str, DagState] = field(default_factory=dict)
    import_errors: tuple[ImportFailure, ...] = ()
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    queued: tuple[QueuedTask, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """What the service says of a model in ``GET /ready``.

    Attributes
    ----------
    state : str
        See ``model_service.models.status.ModelState``.
    seen_since : datetime or None
        Since when it says the same; None when it was asked only once.
    """

    state: str
    version: int | None
    message: str = ""
    seen_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the service says of itself.

    Attributes
    ----------
    error : str or None
        Why there was no answer; None: there was one.
    answered_at : datetime or None
        When it answered last; None: never since the watcher began, or it was asked only once.
    """

    address: str
    models: Mapping[str, ServedVersion] = field(default_factory=dict)
    error: str | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DiskState:
    """The file system of a folder, in bytes."""

    folder: Path
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class LabelCount:
    """The rows of a period whose labels are due, and how many have one."""

    start: datetime
    end: datetime
    rows: int
    labelled: int


@dataclass(frozen=True, slots=True)
class WatchState:
    """Everything that `find_problems` looks at.

    Attributes
    ----------
    specs : mapping of str to ModelSpec
        The valid declarations.
    broken : tuple of BrokenDeclaration
    declared_since : mapping of str to datetime
        When each declaration was last changed.
    expected : frozenset of Part
        The parts that should be there. Of others nothing is a problem.
    ledger : LedgerState or None
        None: it could not be read, see `ledger_error`.
    ledger_read_at : datetime or None
        When it was read last, if it was.
    airflow : AirflowState or None
        None: it could not be read, see `airflow_error`.
    heartbeats : mapping of str to datetime
        Of the processes that write a file, see `include.watching.processes.beat`.
    labels : mapping of str to LabelCount
        Of the models whose labels were counted.
    began : datetime or None
        When the watcher began to look. A process has some seconds from then on until it counts as dead.
    """

    specs: Mapping[str, ModelSpec] = field(default_factory=dict)
    broken: tuple[BrokenDeclaration, ...] = ()
    declared_since: Mapping[str, datetime] = field(default_factory=dict)
    expected: frozenset[Part] = frozenset()
    ledger: LedgerState | None = None
    ledger_error: str | None = None
    ledger_read_at: datetime | None = None
    airflow: AirflowState | None = None
    airflow_error: str | None = None
    service: ServiceState | None = None
    disk: DiskState | None = None
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    labels: Mapping[str, LabelCount] = field(default_factory=dict)
    began: datetime | None = None
