"""Steps as data, and the runner that starts each as soon as what it needs is done."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local_stack.polling import StoppedError
from deploy.local_stack.progress import ProgressReporter
from include.errors import LocalStackError, SluiceError

log = logging.getLogger(__name__)

LOOK_EVERY = 0.2
LINGER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step brought: a sentence, and whether all of it was there already."""

    text: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, the titles of those that must be done before, and what it does.

    `work` gets a function that takes a note on what it is doing right now.
    """

    title: str
    work: Callable[[Callable[[str], None]], Outcome]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Which step failed, why, where to read more, and what to do."""

    title: str
    reason: str
    advice: str
    log: Path | None

    @classmethod
    def of(cls, title: str, error: BaseException, launcher_log: Path) -> Failure:
        """Return what to tell of `error`, raised by the step `title`."""
        if isinstance(error, LocalStackError):
            return cls(title, error.reason, error.advice, error.log)
        if isinstance(error, SluiceError):
            return cls(title, str(error), "Then run again: what is done is kept.", launcher_log)
        return cls(
            title,
            f"{type(error).__name__}: {str(error)[:1500]}",
            "Read the log; run again: what is done is kept. If it stays, `make clean` starts afresh.",
            launcher_log,
        )

    def lines(self) -> list[str]:
        """Return the failure as lines for a person."""
        told = [f"FAILED: {self.title}", f"  reason:     {self.reason}"]
        if self.log is not None:
            told.append(f"  log:        {self.log}")
        return [*told, f"  what to do: {self.advice}"]


@dataclass(slots=True)
class StepRunner:
    """Runs steps side by side, each in a thread of its own, until all are done or one failed.

    Parameters
    ----------
    steps : sequence of Step
        In the order in which they are told of; what a step needs stands before it.
    progress : ProgressReporter
        Where they are told of.
    stop : Event
        Set from outside to give up; set by the runner when a step failed. Steps look at it.
    launcher_log : Path
        Where a failure's traceback is written.
    watch : callable
        Called again and again while steps run; raises when something that must live died.
    """

    steps: Sequence[Step]
    progress: ProgressReporter
    stop: threading.Event
    launcher_log: Path
    watch: Callable[[], None] = lambda: None
    _ended: queue.SimpleQueue[tuple[Step, BaseException | None]] = field(default_factory=queue.SimpleQueue)

    def run(self) -> Failure | None:
        """Run the steps, and return the first failure; None when all are done or `stop` was set outside."""
        self.progress.plan([step.title for step in self.steps])
        waiting, running, done = list(self.steps), set[str](), set[str]()
        failure: Failure | None = None
        gave_up = 0.0
        while True:
            if not self.stop.is_set():
                for step in [each for each in waiting if done.issuperset(each.needs)]:
                    waiting.remove(step)
                    running.add(step.title)
                    self._start(step)
            if not running:
                return failure
            if self.stop.is_set():
                # Most steps look at `stop` often; one that is deep in the database ends when that stops.
                gave_up = gave_up or time.monotonic()
                if time.monotonic() - gave_up > LINGER_SECONDS:
                    return failure
            try:
                step, error = self._ended.get(timeout=LOOK_EVERY)
            except queue.Empty:
                failure = failure or self._watched(running)
                continue
            running.discard(step.title)
            if error is None:
                done.add(step.title)
            elif failure is None and not isinstance(error, StoppedError):
                failure = self._failed(step.title, error)

    def _start(self, step: Step) -> None:
        self.progress.began(step.title)
        threading.Thread(target=self._work, args=(step,), name=step.title, daemon=True).start()

    def _work(self, step: Step) -> None:
        try:
            outcome = step.work(lambda text: self.progress.note(step.title, text))
        except BaseException as error:  # noqa: BLE001  # the runner's thread tells of it
            word = "stopped" if isinstance(error, StoppedError) or self.stop.is_set() else "failed"
            self.progress.ended(step.title, word, "")
            self._ended.put((step, error))
        else:
            self.progress.ended(step.title, "kept" if outcome.kept else "done", outcome.text)
            self._ended.put((step, None))

    def _watched(self, running: set[str]) -> Failure | None:
        if self.stop.is_set():
            return None
        try:
            self.watch()
        except LocalStackError as error:
            return self._failed(f"{', '.join(sorted(running))}", error)
        return None

    def _failed(self, title: str, error: BaseException) -> Failure:
        self.stop.set()
        log.error("step '%s' failed", title, exc_info=error)
        return Failure.of(title, error, self.launcher_log)
