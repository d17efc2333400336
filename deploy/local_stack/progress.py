"""Shows how far the start has come: a line when a step starts or ends, and what is running in between.

On a terminal the running steps are shown below the lines and updated. Elsewhere, in a pipe or in CI, a line is printed
when nothing else was for ten seconds, and no control character is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, Task, TaskID, TextColumn

from include.progress import repeated_in_background

HEARTBEAT_SECONDS = 10.0
UPDATES_PER_SECOND = 4


@dataclass(slots=True)
class ProgressReporter:
    """Prints lines about steps to one stream, from any thread.

    Parameters
    ----------
    stream : text stream
        Standard output by default.
    heartbeat : float
        Where it is no terminal: seconds without a line after which the running steps are printed.
    clock : callable
        Seconds, monotonic.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    heartbeat: float = HEARTBEAT_SECONDS
    clock: Callable[[], float] = time.monotonic
    _console: Console = field(init=False)
    _display: Progress = field(init=False)
    _started_at: float = field(init=False)
    _last_line_at: float = field(init=False)
    _total: int = 0
    _finished: int = 0
    _running: dict[str, TaskID] = field(default_factory=dict)
    _waiting: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._started_at = self._last_line_at = self.clock()
        # The stream alone decides: FORCE_COLOR and the like must not bring control characters into a log.
        terminal = self.stream.isatty()
        self._console = _PipeConsole(file=self.stream, force_terminal=terminal, highlight=False)
        self._display = Progress(
            # One column: with several, a long note would take its width from the title.
            TextColumn("              {task.description} {task.elapsed:.0f} s  {task.fields[note]}", markup=False),
            console=self._console,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
            disable=not self._is_animated,
            get_time=self.clock,
        )

    @property
    def _is_animated(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._started_at

    def plan(self, titles: list[str]) -> None:
        """Set which steps there are, in the order in which they are likely to start."""
        with self._lock:
            self._total, self._waiting = len(titles), list(titles)

    def start(self, title: str) -> None:
        """Report that a step starts."""
        with self._lock:
            if title in self._waiting:
                self._waiting.remove(title)
            self.line(f"      ...     {title}")
            self._running[title] = self._display.add_task(title, total=None, note="")

    def note(self, title: str, text: str) -> None:
        """Set what a running step is doing right now."""
        with self._lock:
            if title in self._running:
                self._display.update(self._running[title], note=text)

    def finish(self, title: str, status: str, message: str = "") -> None:
        """Report that a step has ended: ``done``, ``skipped``, ``failed`` or ``stopped``."""
        with self._lock:
            seconds = 0.0
            if title in self._running:
                seconds = self._task(title).elapsed or 0.0
                self._display.remove_task(self._running.pop(title))
            self._finished += status in ("done", "skipped")
            suffix = f": {message}" if message else ""
            self.line(f"{self._finished:>2}/{self._total:<2} {status:<8}{title} ({seconds:.1f} s){suffix}")

    def line(self, text: str = "") -> None:
        """Print one line, after the time since the start."""
        self.text(f"{_minutes(self.elapsed)}  {text}".rstrip())

    def text(self, text: str) -> None:
        """Print `text` unchanged, however long its lines are."""
        with self._lock:
            # The stream may be closed already; stopping in order matters more than printing it.
            with contextlib.suppress(ValueError):
                self._console.out(text, highlight=False)
            self._last_line_at = self.clock()

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the running steps while the body runs."""
        if self._is_animated:
            with self._display:
                yield
            return
        with repeated_in_background(self._print_heartbeat, itertools.repeat(min(1.0, self.heartbeat / 2))):
            yield

    def _print_heartbeat(self) -> None:
        with self._lock:
            if self._running and self.clock() - self._last_line_at >= self.heartbeat:
                following = f"; next: {self._waiting[0]}" if self._waiting else ""
                self.line(f"      running {' | '.join(self._describe(title) for title in self._running)}{following}")

    def _describe(self, title: str) -> str:
        task = self._task(title)
        note = task.fields["note"]
        return f"{title} {task.elapsed or 0:.0f} s" + (f" ({note})" if note else "")

    def _task(self, title: str) -> Task:
        return next(task for task in self._display.tasks if task.id == self._running[title])


class _PipeConsole(Console):
    """A console that goes silent, instead of ending the program, when its reader has gone (`make run | head`)."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # What is left in the stream's buffer is flushed when the program ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):>2}:{seconds % 60:04.1f}"
