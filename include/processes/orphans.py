"""Processes that keep running after the program that started them was killed; the next start finds them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.processes.termination import is_alive, session_of


@dataclass(frozen=True, slots=True)
class SessionRegister:
    """A file with the sessions that a program has started; it remains when the program is killed."""

    file: Path

    def write(self, sessions: Collection[int]) -> None:
        """Record these sessions, in place of the former ones."""
        started = {}
        for session in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                started[str(session)] = psutil.Process(session).create_time()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"boot": psutil.boot_time(), "sessions": started}), encoding="ascii")

    def read(self) -> dict[int, float]:
        """Return the recorded sessions of this boot, each with the time at which its leader was started."""
        try:
            recorded = json.loads(self.file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return {}
        # After a reboot the same process ids belong to other processes.
        if abs(recorded["boot"] - psutil.boot_time()) > 5:
            return {}
        return {int(session): float(started) for session, started in recorded["sessions"].items()}

    def clear(self) -> None:
        """Forget all sessions."""
        self.file.unlink(missing_ok=True)


def find_orphans(register: SessionRegister, variable: str, value: str) -> list[psutil.Process]:
    """Return the processes of an earlier start that are still alive.

    Parameters
    ----------
    register : SessionRegister
        A process of a recorded session is one of them.
    variable, value : str
        So is a process with this variable in its environment. One that changed its title has overwritten its
        environment, and one that moved to another session is not recorded: each criterion finds processes that the
        other misses.
    """
    sessions = register.read()
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid()
        and is_alive(process)
        and (_is_recorded(process, sessions) or _has_variable(process, variable, value))
    ]


def _is_recorded(process: psutil.Process, sessions: Mapping[int, float]) -> bool:
    session = session_of(process)
    if session is None or session not in sessions:
        return False
    try:  # the system may have reused the leader's process id
        return abs(psutil.Process(session).create_time() - sessions[session]) < 1
    except psutil.NoSuchProcess:
        return True


def _has_variable(process: psutil.Process, variable: str, value: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(variable) == value
    return False
