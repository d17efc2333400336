"""Restarts a process of the stack that has exited, and reports it. It never gives up: the service goes on meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.supervisor import ManagedProcess, Supervisor, exit_error
from include.errors import DatabaseError

log = logging.getLogger(__name__)

STABLE_SECONDS = 60.0
POLL_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
DATABASE = "embedded PostgreSQL"

# What an exit costs those who wait for the process; docs/scaling.md has the measurements.
EFFECTS: Mapping[str, str] = {
    "scheduler": "the tasks that it was running ended with it; Airflow retries them within about a minute",
}


@dataclass(slots=True)
class RestartPolicy:
    """Supervises the processes of a running stack, and its database.

    A process that exits is restarted at once. If it exits again within `stable_seconds` of its restart, it waits: a
    second, then twice as long each time, up to a minute. It goes on until somebody mends the cause or stops the stack,
    because the other processes are of use meanwhile.

    Parameters
    ----------
    supervisor : Supervisor
        It started the processes.
    progress : ProgressReporter
        Exits and restarts are printed there, and written to the launcher's log.
    start_database : callable
        Starts the database unless it runs, and returns whether it did; raises `DatabaseError` when that fails.
    stable_seconds : float
    clock : callable
        Seconds, monotonic.
    """

    supervisor: Supervisor
    progress: ProgressReporter
    start_database: Callable[[], bool] = lambda: False
    stable_seconds: float = STABLE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _restarts: dict[str, int] = field(default_factory=dict)
    _restarted_at: dict[str, float] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def supervise(self, stop: threading.Event) -> None:
        """Restart what has exited until `stop` is set."""
        while not stop.wait(POLL_SECONDS):
            self.check()

    def check(self) -> None:
        """Restart the database and each process that has exited, if its turn has come."""
        if not self._check_database():
            return  # the others would only exit again
        for managed in self.supervisor.exited():
            if managed.name not in self._due:
                error = exit_error(managed)
                self._report(f"EXITED     {error.reason} (log: {managed.log})")
                self._plan(managed.name)
            if self.clock() >= self._due[managed.name]:
                self._restart(managed)

    def _check_database(self) -> bool:
        """Start the database if it is gone and its turn has come; return whether it runs."""
        if self.clock() < self._due.get(DATABASE, 0.0):
            return False
        try:
            started = self.start_database()
        except DatabaseError as error:
            self._plan(DATABASE)
            self._restarted_at[DATABASE] = self.clock()
            self._report(f"EXITED     {DATABASE}: it cannot be started: {error}")
            return False
        self._due.pop(DATABASE, None)
        if started:
            self._report(f"EXITED     {DATABASE}: a person killed it, or the system, because memory ran out")
            self._report(f"RESTARTED  {DATABASE}; the other processes go on, and connect again")
        return True

    def _plan(self, name: str) -> None:
        """Decide when a process that has exited is restarted."""
        restarted_at = self._restarted_at.get(name)
        in_a_row = restarted_at is not None and self.clock() - restarted_at < self.stable_seconds
        restarts = self._restarts.get(name, 0) + 1 if in_a_row else 1
        delay = 0.0 if restarts == 1 else min(2.0 ** (restarts - 2), LONGEST_DELAY_SECONDS)
        self._restarts[name], self._due[name] = restarts, self.clock() + delay
        if delay:
            self._report(f"WAITING    {name} exits again and again; it is restarted in {delay:.0f} s")

    def _restart(self, managed: ManagedProcess) -> None:
        self.supervisor.restart(managed)
        name = managed.name
        self._restarted_at[name] = self.clock()
        del self._due[name]
        effect = f"; {EFFECTS[name]}" if name in EFFECTS else ""
        self._report(f"RESTARTED  {name}, restart {self._restarts[name]} in a row{effect}")

    def _report(self, line: str) -> None:
        log.error("%s", line)
        self.progress.line(line)
