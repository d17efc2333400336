"""From nothing to a running stack with its summary, and back to nothing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from deploy.local_stack.database import stop_database
from deploy.local_stack.lock import only_launcher, stop_launcher
from deploy.local_stack.logs import log_to
from deploy.local_stack.memory import MemoryWatch
from deploy.local_stack.ports import free_port
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.restart_policy import RestartPolicy
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Failure, Step, StepRunner
from deploy.local_stack.supervisor import register_of
from include.errors import SluiceError
from include.processes.orphans import leftovers, stop_leftovers
from include.settings import Settings

INTERRUPTED = 130


@dataclass(slots=True)
class Signals:
    """Ctrl-C and TERM: the first asks to stop in order, the second to stop at once."""

    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    asked: bool = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals while the body runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        (self.hurry if self.asked else self.stop).set()
        self.asked = True


class Undertaking(Protocol):
    """What a start is for: the steps that lead there, and what is told when they are done."""

    def steps(self) -> list[Step]:
        """Return the steps, each with what it needs."""

    def lines(self, seconds: float, setup_seconds: float, memory: MemoryWatch) -> Iterator[str]:
        """Yield the summary; `seconds` were spent since the first step, `setup_seconds` before it."""


def launch(
    settings: Settings, undertaking: Callable[[Stack], Undertaking], *, once: bool, setup_seconds: float = 0.0
) -> int:
    """Start the stack, do the job, tell of it, and stay up until told to stop.

    Parameters
    ----------
    settings : Settings
    undertaking : callable
        Takes the stack that is to be started, and returns what to do with it.
    once : bool
        Stop after the summary.
    setup_seconds : float
        What was spent before this process began; told in the summary.

    Returns
    -------
    int
        0 when every part succeeded, 1 when one failed, 130 when it was interrupted before the summary.
    """
    home = settings.home.resolve()
    progress = ProgressReporter()
    signals = Signals()
    with only_launcher(home), signals.caught():
        log_to(home / "logs" / "launcher.log")
        left = stop_leftovers(home, register_of(home))
        if left:
            progress.line(f"stopped {left} processes that an earlier start had left behind")
        stack = Stack(_with_free_ports(settings.model_copy(update={"home": home}), progress), signals.stop)
        memory = MemoryWatch(stack.processes)
        memory.start()
        try:
            return _run(stack, undertaking(stack), progress, signals, memory, once=once, setup_seconds=setup_seconds)
        finally:
            memory.stop()


def halt(settings: Settings) -> int:
    """Stop the home's stack, whoever started it, and whatever a killed launcher left; return 0."""
    home = settings.home.resolve()
    progress = ProgressReporter()
    pid = stop_launcher(home)
    if pid is not None:
        progress.text(f"stopped the stack that process {pid} had started")
    left = stop_leftovers(home, register_of(home))
    if left:
        progress.text(f"stopped {left} processes that an earlier start had left behind")
    stop_database(home)
    return 0


def _run(
    stack: Stack,
    undertaking: Undertaking,
    progress: ProgressReporter,
    signals: Signals,
    memory: MemoryWatch,
    *,
    once: bool,
    setup_seconds: float,
) -> int:
    launcher_log = stack.settings.log_dir / "launcher.log"
    runner = StepRunner(undertaking.steps(), progress, signals.stop, launcher_log, stack.watch)
    code = 0
    try:
        with progress.ticking():
            failure = runner.run()
        if failure is None and not signals.asked:
            for line in undertaking.lines(progress.elapsed, setup_seconds, memory):
                progress.text(line)
            memory.stop()  # it was told of; a stack that stays up for weeks is not measured all the time
            if not once:
                progress.text("All is up; it stays up until Ctrl-C.")
                failure = RestartPolicy(stack.supervisor, progress).keep(signals.stop)
        elif failure is None:
            code = INTERRUPTED
        if failure is not None:
            code = 1
            for line in ("", *failure.lines(), ""):
                progress.text(line)
    except SluiceError as error:
        code = 1
        for line in Failure.of("summary", error, launcher_log).lines():
            progress.text(line)
    finally:
        code = _close(stack, progress, signals) or code
    return code


def _close(stack: Stack, progress: ProgressReporter, signals: Signals) -> int:
    """Stop everything, look whether anything was left, and say so."""
    began = time.monotonic()
    progress.line("stopping every process" + (" (Ctrl-C again: at once)" if signals.asked else ""))
    survivors = stack.close(signals.hurry)
    home = stack.settings.home
    survivors += leftovers(home, register_of(home))
    if survivors:
        named = ", ".join(f"{each.pid}" for each in survivors)
        progress.line(f"could not stop these processes: {named}; stop them with kill -9, as the user who owns them")
        return 1
    progress.line(f"stopped after {time.monotonic() - began:.1f} s; no process is left")
    return 0


def _with_free_ports(settings: Settings, progress: ProgressReporter) -> Settings:
    """Return `settings` with ports that are free, telling of each that had to be another."""
    airflow = free_port(settings.airflow_port)
    service = free_port(settings.service_port, settings.service_host, reserved=(airflow,))
    for name, variable, wanted, found in (
        ("Airflow", "SLUICE_AIRFLOW_PORT", settings.airflow_port, airflow),
        ("the service", "SLUICE_SERVICE_PORT", settings.service_port, service),
    ):
        if wanted != found:
            progress.line(f"port {wanted} is taken: {name} will listen on {found} ({variable} chooses another)")
    changes = {"airflow_port": airflow, "service_port": service, "airflow_url": f"http://127.0.0.1:{airflow}"}
    return settings.model_copy(update=changes)
