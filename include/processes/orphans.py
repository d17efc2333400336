"""What an earlier launcher left running because it was killed: found again, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

from deploy.local_stack.supervisor import GRACE_SECONDS, MARK
from include.processes.termination import end, lives, session_of


def leftovers(home: Path, register: Path) -> list[psutil.Process]:
    """Return processes of an earlier stack of `home` that still run.

    They carry our mark in their environment, or belong to a session that the `register` remembers
    (a process that changed its title lost the first).
    """
    sessions = _remembered(register)
    return [each for each in psutil.process_iter() if each.pid != os.getpid() and _is_ours(each, str(home), sessions)]


def stop_leftovers(home: Path, register: Path, grace: float = GRACE_SECONDS) -> int:
    """Stop what `leftovers` finds, and return how many there were."""
    found = leftovers(home, register)
    end(found, grace, threading.Event())
    register.unlink(missing_ok=True)
    return len(found)


def _remembered(register: Path) -> dict[int, float]:
    try:
        noted = json.loads(register.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return {}
    # Numbers of another boot mean other processes.
    if abs(noted["boot"] - psutil.boot_time()) > 5:
        return {}
    return {int(pid): float(born) for pid, born in noted["sessions"].items()}


def _is_ours(process: psutil.Process, home: str, sessions: Mapping[int, float]) -> bool:
    if not lives(process):
        return False
    session = session_of(process)
    if session is not None and session in sessions and _leader_is(session, sessions[session]):
        return True
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == home
    return False


def _leader_is(session: int, born: float) -> bool:
    """Tell whether `session` is the one whose leader was born then: its number may have been given again."""
    try:
        return abs(psutil.Process(session).create_time() - born) < 1
    except psutil.NoSuchProcess:
        return True
