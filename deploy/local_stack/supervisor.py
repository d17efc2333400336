"""The processes of the stack: started, watched, restarted, and stopped with all their descendants."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from deploy.local_stack.errors import LocalStackError, StoppedError
from include.processes import (
    SessionRegister,
    find_orphans,
    log_tail,
    session_processes,
    start_process,
    terminate,
)

STACK_VARIABLE = "SLUICE_LOCAL_STACK"
"""In the environment of every process of a stack, with the stack's home as its value."""

FIRST_STOP_TIMEOUT_SECONDS = 6.0
STOP_TIMEOUT_SECONDS = 7.0
RESTART_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """A process that the supervisor started: the leader of its own session, its log, and how to start it again."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    long_running: bool
    restart: Callable[[], ManagedProcess]


@dataclass(slots=True)
class Supervisor:
    """Starts the stack's processes and, in the end, stops every one with its descendants.

    Each is in a separate session, so that a terminal's Ctrl-C reaches only the launcher, which then stops them in
    order.

    Parameters
    ----------
    register : SessionRegister
        Records the sessions, so that the next start finds the processes of a launcher that was killed.
    log_dir : Path
        The output of each process goes to ``<name>.log`` in this folder.
    """

    register: SessionRegister
    log_dir: Path
    _managed: list[ManagedProcess] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: bool = False

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, *, long_running: bool = True
    ) -> ManagedProcess:
        """Start `command`; a `long_running` one is expected to run until the supervisor stops it.

        Raises
        ------
        StoppedError
            When the supervisor is stopping: nothing is started any more.
        """
        log = self.log_dir / f"{name}.log"
        with self._lock:
            if self._stopping:
                raise StoppedError
            # Not `end_with_parent`: the step's thread, which starts it, ends long before it.
            popen = start_process(command, environment=environment, cwd=cwd, log=log)
            restart = partial(self.start, name, command, environment, cwd, long_running=long_running)
            managed = ManagedProcess(name, popen, log, long_running, restart)
            self._managed.append(managed)
            self.register.write([each.popen.pid for each in self._managed])
        return managed

    def run(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, stop: threading.Event
    ) -> None:
        """Run `command` to its end.

        Raises
        ------
        LocalStackError
            When its exit code is not 0, with the last error lines of its log.
        StoppedError
            When `stop` is set first.
        """
        managed = self.start(name, command, environment, cwd, long_running=False)
        while managed.popen.poll() is None:
            if stop.wait(0.05):
                raise StoppedError
        if managed.popen.returncode != 0:
            raise exit_error(managed)

    def exited(self) -> list[ManagedProcess]:
        """Return the long-running processes that have exited though nobody stopped them."""
        with self._lock:
            return [each for each in self._managed if each.long_running and each.popen.poll() is not None]

    def restart(self, managed: ManagedProcess) -> ManagedProcess:
        """Start a process that has exited again, after stopping what is left of its children."""
        terminate(session_processes({managed.popen.pid}), RESTART_TIMEOUT_SECONDS)
        with self._lock:
            self._managed.remove(managed)
        return managed.restart()

    def running(self) -> list[psutil.Process]:
        """Return every process of the stack that runs now, with all descendants."""
        with self._lock:
            sessions = {each.popen.pid for each in self._managed}
        return session_processes(sessions)

    def stop(self, kill_now: threading.Event, first: Sequence[str] = ()) -> list[psutil.Process]:
        """Stop everything: SIGTERM to all at once, SIGKILL after a timeout.

        Parameters
        ----------
        kill_now : Event
            When set, the timeouts end at once.
        first : sequence of str
            Names of processes to stop before the others, because they still need those.

        Returns
        -------
        list of psutil.Process
            The processes that could not be stopped.
        """
        with self._lock:
            self._stopping = True
            every_session = {each.popen.pid for each in self._managed}
            first_sessions = {each.popen.pid for each in self._managed if each.name in first}
        survivors = [
            *terminate(session_processes(first_sessions), FIRST_STOP_TIMEOUT_SECONDS, kill_now),
            *terminate(session_processes(every_session - first_sessions), STOP_TIMEOUT_SECONDS, kill_now),
        ]
        for managed in self._managed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                managed.popen.wait(timeout=1)
        if not survivors:
            self.register.clear()
        return survivors


def exit_error(managed: ManagedProcess) -> LocalStackError:
    """Return the error that reports a process that has exited though it should run, or has failed."""
    code = managed.popen.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    # A process that is killed with -9 logs nothing about it; its earlier lines would only mislead.
    why = (
        ": a person killed it, or the system, because memory ran out"
        if code == -signal.SIGKILL
        else f"; end of its log: {log_tail(managed.log, prefer_errors=True)}"
    )
    return LocalStackError(
        f"{managed.name} {how}{why}",
        "Read its log, fix the cause, and run again: finished steps are kept.",
        managed.log,
    )


def session_register(home: Path) -> SessionRegister:
    """Return the file in which the sessions of a home's stack are recorded."""
    return SessionRegister(home / "local" / "processes.json")


def orphans_of(home: Path) -> list[psutil.Process]:
    """Return the processes that a killed launcher of this home left running."""
    return find_orphans(session_register(home), STACK_VARIABLE, str(home))


def stop_orphans(home: Path, timeout: float = STOP_TIMEOUT_SECONDS) -> int:
    """Stop the processes that a killed launcher of this home left running, and return how many there were."""
    orphans = orphans_of(home)
    terminate(orphans, timeout)
    session_register(home).clear()
    return len(orphans)
