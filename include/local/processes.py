"""Processes of the stack: started in sessions of their own, watched, and stopped with all their children."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from include.errors import LocalStackError
from include.local.waiting import StoppedError

MARK = "SLUICE_LOCAL_STACK"
EARLY_GRACE_SECONDS = 6.0
GRACE_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Managed:
    """One process that we started, the leader of its own session, its log, and how to start it again."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    lasting: bool
    again: Callable[[], Managed]


@dataclass(slots=True)
class Supervisor:
    """Starts the stack's processes and, in the end, stops every one with its descendants.

    A session of its own keeps a terminal's Ctrl-C from the child: the order of stopping is ours.

    Parameters
    ----------
    register : Path
        A file that remembers the sessions, so that the next start finds what a killed launcher left.
    log_dir : Path
        Where each process's output goes, ``<name>.log``.
    """

    register: Path
    log_dir: Path
    _managed: list[Managed] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, *, lasting: bool = True
    ) -> Managed:
        """Start `command`; a `lasting` one is expected to run until we stop it."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log = self.log_dir / f"{name}.log"
        with self._lock:
            if self._closed:
                raise StoppedError
            with log.open("ab") as output:
                popen = subprocess.Popen(  # noqa: S603  # our own commands
                    list(command),
                    env=dict(environment),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            again = partial(self.start, name, command, environment, cwd, lasting=lasting)
            managed = Managed(name, popen, log, lasting, again)
            self._managed.append(managed)
            self._remember()
        return managed

    def run(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, stop: threading.Event
    ) -> None:
        """Run `command` to its end.

        Raises
        ------
        LocalStackError
            When it exits with another code than 0, with the last error lines of its log.
        StoppedError
            When `stop` was set first.
        """
        managed = self.start(name, command, environment, cwd, lasting=False)
        while managed.popen.poll() is None:
            if stop.wait(0.05):
                raise StoppedError
        if managed.popen.returncode != 0:
            raise death_of(managed)

    def dead(self) -> list[Managed]:
        """Return the lasting processes that ended by themselves."""
        with self._lock:
            return [each for each in self._managed if each.lasting and each.popen.poll() is not None]

    def restart(self, managed: Managed) -> Managed:
        """Start a process that ended once more, after stopping what is left of its children."""
        _end(_members({managed.popen.pid}), 2.0, threading.Event())
        with self._lock:
            self._managed.remove(managed)
        return managed.again()

    def running(self) -> list[psutil.Process]:
        """Return every process of the stack that runs now, descendants included."""
        with self._lock:
            sessions = {each.popen.pid for each in self._managed}
        return _members(sessions)

    def stop(self, hurry: threading.Event, first: Sequence[str] = ()) -> list[psutil.Process]:
        """Stop everything: TERM to all at once, KILL to what is left after a grace.

        Parameters
        ----------
        hurry : Event
            When set, the grace ends at once.
        first : sequence of str
            Names of processes that are stopped before the others, whom they still need.

        Returns
        -------
        list of psutil.Process
            What survived even that.
        """
        with self._lock:
            self._closed = True
            everyone = {each.popen.pid for each in self._managed}
            early = {each.popen.pid for each in self._managed if each.name in first}
        survivors = [
            *_end(_members(early), EARLY_GRACE_SECONDS, hurry),
            *_end(_members(everyone - early), GRACE_SECONDS, hurry),
        ]
        for each in self._managed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.popen.wait(timeout=1)
        if not survivors:
            self.register.unlink(missing_ok=True)
        return survivors

    def _remember(self) -> None:
        sessions = {}
        for each in self._managed:
            with contextlib.suppress(psutil.NoSuchProcess):
                sessions[str(each.popen.pid)] = psutil.Process(each.popen.pid).create_time()
        self.register.parent.mkdir(parents=True, exist_ok=True)
        self.register.write_text(json.dumps({"boot": psutil.boot_time(), "sessions": sessions}), encoding="ascii")


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
    _end(found, grace, threading.Event())
    register.unlink(missing_ok=True)
    return len(found)


def death_of(managed: Managed) -> LocalStackError:
    """Return the error that tells of a process that ended when it should not have."""
    code = managed.popen.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return LocalStackError(
        f"{managed.name} {how}; it last said: {last_words(managed.log)}",
        "Read its log, mend what it names, and run again: what is done is kept.",
        managed.log,
    )


def last_words(log: Path, lines: int = 4) -> str:
    """Return the last lines of `log` that speak of an error, or else just the last ones."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 40_000))
            said = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return "(nothing)"
    telling = [line for line in said if "error" in line.lower() or "exception" in line.lower()]
    return " / ".join(line[:300] for line in (telling or said)[-lines:]) or "(nothing)"


def tree(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return `roots` and all their descendants that still run."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in (root, *root.children(recursive=True)):
                found[each.pid] = each
    return list(found.values())


def _members(sessions: set[int]) -> list[psutil.Process]:
    """Return every process of these sessions, and the descendants that left them."""
    return tree([each for each in psutil.process_iter() if _session(each) in sessions])


def _end(processes: Sequence[psutil.Process], grace: float, hurry: threading.Event) -> list[psutil.Process]:
    _send(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace
    alive = [each for each in processes if _lives(each)]
    while alive and time.monotonic() < deadline and not hurry.is_set():
        _, alive = psutil.wait_procs(alive, timeout=0.2)
        alive = [each for each in alive if _lives(each)]
    if not alive:
        # Children that were born after we looked are in the sessions still; nobody else is.
        alive = _members({pid for each in processes if (pid := each.pid)})
    _send(tree(alive), signal.SIGKILL)
    _, alive = psutil.wait_procs(alive, timeout=3)
    return [each for each in alive if _lives(each)]


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            each.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


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
    if not _lives(process):
        return False
    session = _session(process)
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
