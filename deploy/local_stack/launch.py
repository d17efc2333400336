"""Start the stack, run the scenario, print the summary, and stop the stack."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from deploy.local_stack.database import stop_database
from deploy.local_stack.lock import launcher_lock, stop_launcher
from deploy.local_stack.logs import configure_logging
from deploy.local_stack.memory import MemoryMonitor
from deploy.local_stack.ports import free_port
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.restart_policy import RestartPolicy
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Failure, StackStep, StepRunner
from deploy.local_stack.supervisor import orphans_of, stop_orphans
from include.errors import SluiceError
from include.settings import Settings

INTERRUPTED = 130


@dataclass(slots=True)
class Signals:
    """Ctrl-C and SIGTERM: the first stops the stack in order, the second kills it."""

    stop: threading.Event = field(default_factory=threading.Event)
    kill_now: threading.Event = field(default_factory=threading.Event)
    received: bool = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals while the body runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        (self.kill_now if self.received else self.stop).set()
        self.received = True


class Scenario(Protocol):
    """What the stack is started for: the steps that lead there, and the summary when they are done."""

    def steps(self) -> list[StackStep]:
        """Return the steps, each with what it depends on."""

    def summary(self, seconds: float, setup_seconds: float, memory: MemoryMonitor) -> Iterator[str]:
        """Yield the summary's lines; `seconds` passed since the first step, `setup_seconds` before it."""


def launch(settings: Settings, scenario: Callable[[Stack], Scenario], *, once: bool, setup_seconds: float = 0.0) -> int:
    """Start the stack, run the scenario's steps, print the summary, and keep the stack running until a signal.

    Parameters
    ----------
    settings : Settings
    scenario : callable
        Takes the stack that is about to be started, and returns the scenario.
    once : bool
        Stop after the summary.
    setup_seconds : float
        Seconds spent before this process started; reported in the summary.

    Returns
    -------
    int
        0 when every step succeeded, 1 when one failed, 130 when it was interrupted before the summary.
    """
    home = settings.home.resolve()
    progress = ProgressReporter()
    signals = Signals()
    with launcher_lock(home), signals.handled():
        configure_logging(home / "logs" / "launcher.log")
        _stop_orphans(home, progress.line)
        stack = Stack(_with_free_ports(settings.model_copy(update={"home": home}), progress), signals.stop)
        memory = MemoryMonitor(stack.processes)
        memory.start()
        try:
            return _run(stack, scenario(stack), progress, signals, memory, once=once, setup_seconds=setup_seconds)
        finally:
            memory.stop()


def stop(settings: Settings) -> int:
    """Stop the home's stack, whoever started it, and the processes that a killed launcher left; return 0."""
    home = settings.home.resolve()
    progress = ProgressReporter()
    pid = stop_launcher(home)
    if pid is not None:
        progress.text(f"stopped the stack that process {pid} had started")
    _stop_orphans(home, progress.text)
    stop_database(home)
    return 0


def _stop_orphans(home: Path, report: Callable[[str], None]) -> None:
    stopped = stop_orphans(home)
    if stopped:
        report(f"stopped {stopped} processes of an earlier start that was killed")


def _run(
    stack: Stack,
    scenario: Scenario,
    progress: ProgressReporter,
    signals: Signals,
    memory: MemoryMonitor,
    *,
    once: bool,
    setup_seconds: float,
) -> int:
    launcher_log = stack.settings.log_dir / "launcher.log"
    runner = StepRunner(scenario.steps(), progress, signals.stop, launcher_log, stack.check_processes)
    code = 0
    try:
        with progress.live():
            failure = runner.run()
        if failure is None and not signals.received:
            for line in scenario.summary(progress.elapsed, setup_seconds, memory):
                progress.text(line)
            memory.stop()  # the summary has reported the memory; it is not measured any longer
            if not once:
                progress.text("The stack is up. It stays up until Ctrl-C.")
                RestartPolicy(stack.supervisor, progress, stack.revive_database).supervise(signals.stop)
        elif failure is None:
            code = INTERRUPTED
        if failure is not None:
            code = 1
            for line in ("", *failure.lines(), ""):
                progress.text(line)
    except SluiceError as error:
        code = 1
        for line in Failure.from_error("summary", error, launcher_log).lines():
            progress.text(line)
    finally:
        code = _close(stack, progress, signals) or code
    return code


def _close(stack: Stack, progress: ProgressReporter, signals: Signals) -> int:
    """Stop everything, check that no process is left, and report it."""
    began = time.monotonic()
    progress.line("stopping every process" + (" (press Ctrl-C again to kill them)" if signals.received else ""))
    survivors = stack.close(signals.kill_now) + orphans_of(stack.settings.home)
    if survivors:
        ids = " ".join(sorted({str(process.pid) for process in survivors}))
        progress.line(f"could not stop every process; run this as the user who owns them: kill -9 {ids}")
        return 1
    progress.line(f"stopped after {time.monotonic() - began:.1f} s; no process is left")
    return 0


def _with_free_ports(settings: Settings, progress: ProgressReporter) -> Settings:
    """Return `settings` with ports that are free; report each that differs from the preferred one."""
    chosen: dict[str, int] = {}
    for setting, name, host in (
        ("airflow_port", "Airflow", "127.0.0.1"),
        ("service_port", "the service", settings.service_host),
        ("watch_port", "the watcher's metrics", settings.watch_host),
        ("watch_statsd_port", "the watcher's StatsD", settings.watch_host),
    ):
        preferred = getattr(settings, setting)
        chosen[setting] = free_port(preferred, host, reserved=tuple(chosen.values()))
        if preferred != chosen[setting]:
            variable = f"SLUICE_{setting.upper()}"
            progress.line(
                f"port {preferred} is in use: {name} will use {chosen[setting]} (set {variable} to choose another)"
            )
    address = f"http://127.0.0.1:{chosen['airflow_port']}"
    changes: dict[str, object] = {**chosen, "airflow_url": address}
    if settings.statsd_host is None:  # Airflow, the tasks and the service send their metrics to the watcher
        changes |= {"statsd_host": "127.0.0.1", "statsd_port": chosen["watch_statsd_port"]}
    return settings.model_copy(update=changes)
