"""The end of processes: who belongs to a session, and how all of them are stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence

import psutil

ORPHANS_GRACE_SECONDS = 2.0


def tree(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return `roots` and all their descendants that still run."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in (root, *root.children(recursive=True)):
                found[each.pid] = each
    return list(found.values())


def members(sessions: set[int]) -> list[psutil.Process]:
    """Return every process of these sessions, and the descendants that left them."""
    return tree([each for each in psutil.process_iter() if session_of(each) in sessions])


def end(processes: Sequence[psutil.Process], grace: float, hurry: threading.Event) -> list[psutil.Process]:
    """TERM to the leaders, who stop their own; then TERM to whom they forgot, and KILL to who is left."""
    ids = {each.pid for each in processes}
    leaders = [each for each in processes if session_of(each) == each.pid or _parent(each) not in ids]
    _send(leaders, signal.SIGTERM)
    alive = _wait(leaders, grace, hurry)
    if not alive:
        orphans = _orphans(processes)
        _send(orphans, signal.SIGTERM)
        _wait(orphans, ORPHANS_GRACE_SECONDS, hurry)
    left = tree(_orphans(processes))
    _send(left, signal.SIGKILL)
    return _wait(left, 3.0, threading.Event())


def _orphans(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return who of `processes` lives, and who was born into their sessions since we looked."""
    born = members({each.pid for each in processes})
    return list({each.pid: each for each in (*processes, *born) if lives(each)}.values())


def _wait(processes: Sequence[psutil.Process], seconds: float, hurry: threading.Event) -> list[psutil.Process]:
    """Wait until all have ended, and return those that have not after `seconds`."""
    deadline = time.monotonic() + seconds
    alive = [each for each in processes if lives(each)]
    while alive and time.monotonic() < deadline and not hurry.is_set():
        time.sleep(0.1)
        alive = [each for each in alive if lives(each)]
    return alive


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            each.send_signal(number)


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that ended and waits for its parent to look does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def session_of(process: psutil.Process) -> int | None:
    """Return the session that a process belongs to; None when it is gone."""
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
