"""One look: reads everything that can go wrong into a `WatchState`. A source that cannot be read hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from include.models import DeclaredModels
from include.service_client import ServiceClient
from include.settings import Settings
from include.spec import QUERY_FILE
from include.spec.query import SPEC_FILE
from include.watching.expected import watched_since
from include.watching.ledger import AirflowReading, first_line, read_airflow, read_ledger
from include.watching.processes import ask_service, expected_parts, free_space, read_heartbeats
from include.watching.state import BrokenDeclaration, LabelCount, LedgerState, Part, WatchState

MIN_VERSIONS_READ = 10
NO_LABELS: Mapping[str, LabelCount] = {}


def observe(
    declared: DeclaredModels,
    settings: Settings,
    engine: Engine,
    airflow: Engine | None,
    now: datetime,
    *,
    expected: frozenset[Part] | None = None,
    before: WatchState | None = None,
    began: datetime | None = None,
    labels: Mapping[str, LabelCount] = NO_LABELS,
) -> WatchState:
    """Read the state of all models and processes. It raises nothing for a source that does not answer.

    Parameters
    ----------
    declared : DeclaredModels
    settings : Settings
    engine : Engine
        Of Sluice's database.
    airflow : Engine or None
        Of Airflow's; None: it is not known where.
    now : datetime
    expected : frozenset of Part, optional
        The parts that should be there; by default `expected_parts`.
    before : WatchState, optional
        What the last look found. Without it there is no telling how long something has been so, and it counts at once.
    began : datetime, optional
        When the watcher began to look, for one that looks again and again.
    labels : mapping of str to LabelCount
        The latest counts of `count_labels`.
    """
    parts = expected_parts(settings) if expected is None else expected
    ledger, error = _ledger(declared, engine, now)
    reading = AirflowReading(None)
    if "airflow" in parts:
        reading = AirflowReading(None, "its URL is not known") if airflow is None else read_airflow(airflow, now)
    service = None
    if "service" in parts:
        service = ask_service(ServiceClient.of(settings), now, before.service if before else None)
    folder = settings.home if settings.home.exists() else settings.home.parent
    return WatchState(
        specs=declared.specs,
        broken=tuple(BrokenDeclaration(each.file.parent.name, str(each)) for each in declared.broken),
        declared_since=declared_since(declared),
        expected=parts,
        ledger=ledger,
        ledger_error=error,
        ledger_read_at=now if ledger is not None else before.ledger_read_at if before is not None else None,
        airflow=reading.state,
        airflow_error=reading.error,
        service=service,
        disk=free_space(folder),
        heartbeats=read_heartbeats(settings.home),
        labels=labels,
        began=began,
    )


def declared_since(declared: DeclaredModels) -> dict[str, datetime]:
    """Return when the files of each declaration were changed last; a file that is gone counts for nothing."""
    folders = {name: spec.folder for name, spec in declared.specs.items()}
    folders |= {each.file.parent.name: each.file.parent for each in declared.broken}
    found = {}
    for name, folder in folders.items():
        times = [file.stat().st_mtime for file in (folder / SPEC_FILE, folder / QUERY_FILE) if file.exists()]
        if times:
            found[name] = datetime.fromtimestamp(max(times), UTC)
    return found


def _ledger(declared: DeclaredModels, engine: Engine, now: datetime) -> tuple[LedgerState | None, str | None]:
    specs = declared.specs.values()
    versions = max([MIN_VERSIONS_READ, *(spec.freshness.rejected_in_a_row for spec in specs)])
    since = {spec.name: watched_since(spec, now) for spec in specs}
    # Those of a broken declaration are known, too: it is not vanished.
    since |= {each.file.parent.name: None for each in declared.broken}
    try:
        return read_ledger(engine, since, now, versions=versions), None
    except SQLAlchemyError as error:
        return None, first_line(error)
