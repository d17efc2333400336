"""Processes of the stack: started in sessions of their own, watched, and stopped with all their children."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from deploy.local_stack.polling import StoppedError
from include.errors import LocalStackError
from include.processes.termination import end, members

MARK = "SLUICE_LOCAL_STACK"
EARLY_GRACE_SECONDS = 6.0
GRACE_SECONDS = 7.0


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
        end(members({managed.popen.pid}), 2.0, threading.Event())
        with self._lock:
            self._managed.remove(managed)
        return managed.again()

    def running(self) -> list[psutil.Process]:
        """Return every process of the stack that runs now, descendants included."""
        with self._lock:
            sessions = {each.popen.pid for each in self._managed}
        return members(sessions)

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
            *end(members(early), EARLY_GRACE_SECONDS, hurry),
            *end(members(everyone - early), GRACE_SECONDS, hurry),
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


def death_of(managed: Managed) -> LocalStackError:
    """Return the error that tells of a process that ended when it should not have."""
    code = managed.popen.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    # Who is killed so says nothing of it; what it said before would only mislead.
    why = (
        ", by somebody, or by the system for want of memory"
        if code == -signal.SIGKILL
        else f"; it last said: {last_words(managed.log)}"
    )
    return LocalStackError(
        f"{managed.name} {how}{why}",
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


def register_of(home: Path) -> Path:
    """Return the file in which the sessions of a home's stack are remembered."""
    return home / "local" / "processes.json"
