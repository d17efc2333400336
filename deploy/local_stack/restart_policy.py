"""A part of the stack that dies is started again, and that is said aloud; but not for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.steps import Failure
from deploy.local_stack.supervisor import Managed, Supervisor, death_of
from include.errors import LocalStackError

log = logging.getLogger(__name__)

MOST_IN_A_ROW = 3
LASTED_SECONDS = 60.0
LOOK_EVERY = 1.0

# What a death costs those who wait for the part; docs/scaling.md has it measured.
COSTS: Mapping[str, str] = {
    "scheduler": "the tasks that it ran were ended with it, and run again when Airflow has missed them, "
    "within a minute or so",
}


@dataclass(slots=True)
class RestartPolicy:
    """Looks after the processes of a stack that is up.

    A process that dies again before it has `lasted` is in a row of deaths; one that lasted begins anew.

    Parameters
    ----------
    supervisor : Supervisor
        Who started them.
    progress : ProgressReporter
        Where deaths and restarts are told of; they are written to the launcher's log, too.
    lasted : float
        Seconds.
    clock : callable
        Seconds, monotonic.
    """

    supervisor: Supervisor
    progress: ProgressReporter
    lasted: float = LASTED_SECONDS
    clock: Callable[[], float] = time.monotonic
    _in_a_row: dict[str, int] = field(default_factory=dict)
    _restarted: dict[str, float] = field(default_factory=dict)

    def keep(self, stop: threading.Event) -> Failure | None:
        """Start again what dies, until `stop` is set; return why it was given up, if it was."""
        while not stop.wait(LOOK_EVERY):
            failure = self.look()
            if failure is not None:
                return failure
        return None

    def look(self) -> Failure | None:
        """Start again what died since the last look; return the first that died too often in a row."""
        for managed in self.supervisor.dead():
            error = death_of(managed)
            row = self._in_a_row.get(managed.name, 0) + 1 if self._died_young(managed) else 1
            if row > MOST_IN_A_ROW:
                return self._given_up(managed, error)
            self._tell(f"DIED    {error.reason} (log: {managed.log})")
            self.supervisor.restart(managed)
            self._in_a_row[managed.name], self._restarted[managed.name] = row, self.clock()
            cost = f"; {COSTS[managed.name]}" if managed.name in COSTS else ""
            self._tell(f"AGAIN   {managed.name} was started again, {row} of {MOST_IN_A_ROW} times in a row{cost}")
        return None

    def _died_young(self, managed: Managed) -> bool:
        born = self._restarted.get(managed.name)
        return born is not None and self.clock() - born < self.lasted

    def _given_up(self, managed: Managed, error: LocalStackError) -> Failure:
        reason = (
            f"{error.reason}. It was started again {MOST_IN_A_ROW} times in a row, and did not last "
            f"{self.lasted:.0f} s any more."
        )
        log.error("given up: %s", reason)
        return Failure(managed.name, reason, error.advice, error.log)

    def _tell(self, line: str) -> None:
        log.error("%s", line)
        self.progress.line(line)
