"""The processes of a session, and how all of them are stopped: SIGTERM, a timeout, SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Collection, Sequence

import psutil

ORPHAN_TIMEOUT_SECONDS = 2.0
KILL_TIMEOUT_SECONDS = 3.0
POLL_SECONDS = 0.05


def session_processes(sessions: Collection[int]) -> list[psutil.Process]:
    """Return every process of these sessions, and their descendants that moved to other sessions."""
    return _with_descendants([process for process in psutil.process_iter() if session_of(process) in sessions])


def terminate(
    processes: Sequence[psutil.Process], timeout: float, kill_now: threading.Event | None = None
) -> list[psutil.Process]:
    """Stop processes with all their descendants.

    SIGTERM goes to the leaders, which stop their own children. Then the remaining processes get SIGTERM, and those that
    are still alive get SIGKILL.

    Parameters
    ----------
    timeout : float
        Seconds until the leaders must have ended.
    kill_now : Event, optional
        When set, the timeouts end at once.

    Returns
    -------
    list of psutil.Process
        The processes that are alive even after SIGKILL: those of another user, or stuck in the kernel.
    """
    kill_now = kill_now or threading.Event()
    ids = {process.pid for process in processes}
    leaders = [each for each in processes if session_of(each) == each.pid or _parent_of(each) not in ids]
    _send(leaders, signal.SIGTERM)
    if not _wait(leaders, timeout, kill_now):
        orphans = _alive_in_sessions(processes)
        _send(orphans, signal.SIGTERM)
        _wait(orphans, ORPHAN_TIMEOUT_SECONDS, kill_now)
    remaining = _with_descendants(_alive_in_sessions(processes))
    _send(remaining, signal.SIGKILL)
    return _wait(remaining, KILL_TIMEOUT_SECONDS, threading.Event())


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie, which has ended and waits for its parent to notice, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def session_of(process: psutil.Process) -> int | None:
    """Return the id of a process's session, which is the process id of its leader; None when it has ended."""
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _with_descendants(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                found[process.pid] = process
    return list(found.values())


def _alive_in_sessions(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those of `processes` that are alive, and the processes that have started in their sessions since."""
    started_since = session_processes({process.pid for process in processes})
    return list({process.pid: process for process in (*processes, *started_since) if is_alive(process)}.values())


def _wait(processes: Sequence[psutil.Process], timeout: float, kill_now: threading.Event) -> list[psutil.Process]:
    """Wait until all have ended, and return those that have not after `timeout` seconds.

    Not `psutil.wait_procs`: it also waits for zombies, and if no process collects orphans, those stay for ever.
    """
    deadline = time.monotonic() + timeout
    alive = [process for process in processes if is_alive(process)]
    while alive and time.monotonic() < deadline and not kill_now.is_set():
        time.sleep(POLL_SECONDS)
        alive = [process for process in alive if is_alive(process)]
    return alive


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def _parent_of(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
