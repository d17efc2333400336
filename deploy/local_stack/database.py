"""The embedded PostgreSQL server as processes: which they are, and stopping them."""

from __future__ import annotations

from pathlib import Path

import psutil

from include.warehouse import stop_embedded


def stop_database(home: Path) -> None:
    """Stop the embedded server, if it runs."""
    if database_processes(home):
        stop_embedded(home)


def database_processes(home: Path) -> list[psutil.Process]:
    """Return the embedded server's processes; none when it does not run."""
    try:
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        if "postgres" not in postmaster.name():
            return []
        return [postmaster, *postmaster.children(recursive=True)]
    except (FileNotFoundError, PermissionError, ValueError, psutil.NoSuchProcess):
        return []
