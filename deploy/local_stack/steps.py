"""Steps with their dependencies, and the runner that starts each as soon as those are done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from deploy.local_stack.errors import LocalStackError, StoppedError
from deploy.local_stack.progress import ProgressReporter
from include.errors import SluiceError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
STOP_TIMEOUT_SECONDS = 3.0

Note = Callable[[str], None]
"""A callable that takes a short note on what a step is doing right now."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did, in a sentence; `skipped` when its result existed already."""

    message: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class StackStep:
    """One step: its title, its work, and the titles of the steps that must be done before."""

    title: str
    work: Callable[[Note], StepResult]
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Which step failed, why, where to read more, and what to do."""

    title: str
    reason: str
    advice: str
    log: Path | None

    @classmethod
    def from_error(cls, title: str, error: BaseException, launcher_log: Path) -> Failure:
        """Return the failure of the step `title`, which raised `error`."""
        if isinstance(error, LocalStackError):
            return cls(title, error.reason, error.advice, error.log)
        if isinstance(error, SluiceError):
            return cls(title, str(error), "Then run again: finished steps are kept.", launcher_log)
        return cls(
            title,
            f"{type(error).__name__}: {str(error)[:1500]}",
            "Read the log and run again: finished steps are kept. If it fails again, `make clean` starts from scratch.",
            launcher_log,
        )

    def lines(self) -> list[str]:
        """Return the failure as lines to print."""
        lines = [f"FAILED: {self.title}", f"  reason:     {self.reason}"]
        if self.log is not None:
            lines.append(f"  log:        {self.log}")
        return [*lines, f"  what to do: {self.advice}"]


@dataclass(slots=True)
class StepRunner:
    """Runs steps in parallel threads, in the order of their dependencies, until all are done or one fails.

    Parameters
    ----------
    steps : sequence of StackStep
        In the order in which they are shown.
    progress : ProgressReporter
        Shows each step's start and end.
    stop : Event
        Set by a signal, or by the runner when a step fails. Steps check it while they wait.
    launcher_log : Path
        A failure's traceback is written there.
    check_processes : callable
        Called again and again while steps run; raises LocalStackError when a process of the stack has exited.
    """

    steps: Sequence[StackStep]
    progress: ProgressReporter
    stop: threading.Event
    launcher_log: Path
    check_processes: Callable[[], None] = lambda: None
    _running: dict[Future[None], StackStep] = field(default_factory=dict)

    def run(self) -> Failure | None:
        """Run the steps, and return the first failure; None when all are done or `stop` was set by a signal."""
        self.progress.plan([step.title for step in self.steps])
        by_title = {step.title: step for step in self.steps}
        order = TopologicalSorter({step.title: step.depends_on for step in self.steps})
        order.prepare()
        executor = ThreadPoolExecutor(max_workers=len(self.steps))
        try:
            while order.is_active() and not self.stop.is_set():
                for title in order.get_ready():
                    step = by_title[title]
                    self.progress.start(title)
                    self._running[executor.submit(self._work, step)] = step
                failure = self._wait_for_one(order)
                if failure is not None:
                    self.stop.set()
                    return failure
            return None
        finally:
            if self.stop.is_set():
                # Steps check `stop`. A step that waits for the database ends later, when the database is stopped.
                wait(self._running, timeout=STOP_TIMEOUT_SECONDS)
            executor.shutdown(wait=False, cancel_futures=True)

    def _wait_for_one(self, order: TopologicalSorter[str]) -> Failure | None:
        """Wait a moment for a step to end; return the failure of a step, or of a process of the stack."""
        ended, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            step, error = self._running.pop(future), future.exception()
            if error is None:
                order.done(step.title)
            elif not isinstance(error, StoppedError):
                return self._failed(step.title, error)
        if ended or self.stop.is_set():
            return None
        try:
            self.check_processes()
        except LocalStackError as error:
            return self._failed(", ".join(sorted(step.title for step in self._running.values())), error)
        return None

    def _work(self, step: StackStep) -> None:
        try:
            result = step.work(lambda text: self.progress.note(step.title, text))
        except BaseException as error:
            stopped = isinstance(error, StoppedError) or self.stop.is_set()
            self.progress.finish(step.title, "stopped" if stopped else "failed")
            raise
        self.progress.finish(step.title, "skipped" if result.skipped else "done", result.message)

    def _failed(self, title: str, error: BaseException) -> Failure:
        log.error("step '%s' failed", title, exc_info=error)
        return Failure.from_error(title, error, self.launcher_log)
