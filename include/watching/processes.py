"""What the processes say of themselves: the service by HTTP, others by heartbeats in files, and the disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from include.service_client import NO_ANSWER, ServiceClient
from include.settings import Settings
from include.watching.state import DiskState, Part, ServedVersion, ServiceState

SERVICE_TIMEOUT_SECONDS: Final = 3.0
WATCHER: Final = "watch"
"""The name of the heartbeat of `sluice watch`."""
_HEARTBEATS: Final = "heartbeats"
_STACK_LOCK: Final = Path("local", "launcher.lock")  # which the launcher of `make run` holds while it runs


def ask_service(client: ServiceClient, now: datetime, before: ServiceState | None = None) -> ServiceState:
    """Ask ``GET /ready`` which version of each model is served. It never raises.

    Parameters
    ----------
    client : ServiceClient
        It waits for an answer for `SERVICE_TIMEOUT_SECONDS` at most.
    before : ServiceState, optional
        What the last look found: since when an answer is the same is known from it.
    """
    client = replace(client, timeout=min(client.timeout, SERVICE_TIMEOUT_SECONDS))
    answered_at = before.answered_at if before else None
    try:
        answer = client.send("GET", "/ready")
    except NO_ANSWER as error:
        return ServiceState(client.address, {}, f"no answer ({_shown(error)})", answered_at)
    models = _models(answer.document)
    if models is None:  # a proxy answers in its place, or it is another program
        return ServiceState(client.address, {}, f"the answer {answer.status} is not that of the service", answered_at)
    known = before.models if before else {}
    return ServiceState(
        client.address,
        {name: _served(each, known.get(name), now if before else None) for name, each in models.items()},
        None,
        now,
    )


def free_space(folder: Path) -> DiskState | None:
    """Return the free bytes of the file system that `folder` is on; None if there is no such folder."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return DiskState(folder, usage.free, usage.total)


def beat(home: Path, name: str) -> None:
    """Write the heartbeat of the process `name`: the time of a file below ``<home>/heartbeats``."""
    folder = home / _HEARTBEATS
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed, so that it also works when the file belongs to another user.
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
        written = Path(file.name)
    written.replace(folder / name)


def end_heartbeat(home: Path, name: str) -> None:
    """Remove the heartbeat of a process that ends as it should, so that it is not taken for dead."""
    (home / _HEARTBEATS / name).unlink(missing_ok=True)


def read_heartbeats(home: Path) -> dict[str, datetime]:
    """Return when each process wrote its heartbeat last."""
    found = {}
    for file in sorted((home / _HEARTBEATS).glob("[!.]*")):
        try:
            found[file.name] = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        except FileNotFoundError:  # it ended meanwhile
            continue
    return found


def expected_parts(settings: Settings) -> frozenset[Part]:
    """Return the parts that should be there as far as the settings and the home folder say.

    The service is expected where SLUICE_SERVICE_URL is set, Airflow where SLUICE_AIRFLOW_DATABASE_URL is, and both
    while `make run` runs here. A command line without a stack has neither, and misses nothing.
    """
    parts: set[Part] = set()
    stack = stack_runs(settings.home)
    if stack or settings.service_url is not None:
        parts.add("service")
    if stack or settings.airflow_database_url is not None:
        parts.add("airflow")
    return frozenset(parts)


def stack_runs(home: Path) -> bool:
    """Return whether the launcher of `make run` runs with this home folder."""
    try:
        with (home / _STACK_LOCK).open("r", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _models(document: Any) -> Mapping[str, Any] | None:
    models = document.get("models") if isinstance(document, Mapping) else None
    if not isinstance(models, Mapping) or not all(isinstance(each, Mapping) for each in models.values()):
        return None
    return models


def _served(said: Mapping[str, Any], before: ServedVersion | None, now: datetime | None) -> ServedVersion:
    version = said.get("version")
    served = ServedVersion(
        str(said.get("state")), version if isinstance(version, int) else None, str(said.get("message"))
    )
    same = before is not None and (before.state, before.version) == (served.state, served.version)
    return replace(served, seen_since=before.seen_since if same and before and before.seen_since else now)


def _shown(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"within {SERVICE_TIMEOUT_SECONDS:g} s"
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
