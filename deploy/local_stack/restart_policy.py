"""Restarts a process of the stack that has exited, and reports it; gives up after too many restarts in a row."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.steps import Failure
from deploy.local_stack.supervisor import ManagedProcess, Supervisor, exit_error

log = logging.getLogger(__name__)

MAX_RESTARTS = 3
STABLE_SECONDS = 60.0
POLL_SECONDS = 1.0

# What an exit costs those who wait for the process; docs/scaling.md has the measurements.
EFFECTS: Mapping[str, str] = {
    "scheduler": "the tasks that it was running ended with it; Airflow retries them within about a minute",
}


@dataclass(slots=True)
class RestartPolicy:
    """Supervises the processes of a running stack.

    A process that exits within `stable_seconds` of its restart is restarted at most three times in a row. After it
    has run longer than that, counting begins again.

    Parameters
    ----------
    supervisor : Supervisor
        It started the processes.
    progress : ProgressReporter
        Exits and restarts are printed there, and written to the launcher's log.
    stable_seconds : float
    clock : callable
        Seconds, monotonic.
    """

    supervisor: Supervisor
    progress: ProgressReporter
    stable_seconds: float = STABLE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _restarts: dict[str, int] = field(default_factory=dict)
    _restarted_at: dict[str, float] = field(default_factory=dict)

    def supervise(self, stop: threading.Event) -> Failure | None:
        """Restart processes until `stop` is set; return the failure when one is given up."""
        while not stop.wait(POLL_SECONDS):
            failure = self.check()
            if failure is not None:
                return failure
        return None

    def check(self) -> Failure | None:
        """Restart each process that has exited; return the failure of the first that exited too often in a row."""
        for managed in self.supervisor.exited():
            error = exit_error(managed)
            restarts = self._restarts.get(managed.name, 0) + 1 if self._exited_soon(managed) else 1
            if restarts > MAX_RESTARTS:
                return self._give_up(managed, error)
            self._report(f"EXITED     {error.reason} (log: {managed.log})")
            self.supervisor.restart(managed)
            self._restarts[managed.name], self._restarted_at[managed.name] = restarts, self.clock()
            effect = f"; {EFFECTS[managed.name]}" if managed.name in EFFECTS else ""
            self._report(f"RESTARTED  {managed.name}, restart {restarts} of at most {MAX_RESTARTS} in a row{effect}")
        return None

    def _exited_soon(self, managed: ManagedProcess) -> bool:
        restarted_at = self._restarted_at.get(managed.name)
        return restarted_at is not None and self.clock() - restarted_at < self.stable_seconds

    def _give_up(self, managed: ManagedProcess, error: LocalStackError) -> Failure:
        reason = (
            f"{error.reason}. It was restarted {MAX_RESTARTS} times in a row, and each time it exited within "
            f"{self.stable_seconds:.0f} s."
        )
        log.error("giving up: %s", reason)
        return Failure(managed.name, reason, error.advice, error.log)

    def _report(self, line: str) -> None:
        log.error("%s", line)
        self.progress.line(line)
