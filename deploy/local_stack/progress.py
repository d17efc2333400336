"""What a person sees while the stack starts: a line when a step begins or ends, and a sign of life between."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

HEARTBEAT_SECONDS = 10.0
REDRAW_SECONDS = 0.5


@dataclass(slots=True)
class Running:
    """A step under way: when it began, and what it is doing right now."""

    title: str
    since: float
    note: str = ""

    def told(self, now: float) -> str:
        """Return the step, its seconds so far and its note."""
        return f"{self.title} {now - self.since:.0f} s" + (f" ({self.note})" if self.note else "")


@dataclass(slots=True)
class ProgressReporter:
    """Writes lines about steps; on a terminal also one line that is redrawn, elsewhere a heartbeat.

    Parameters
    ----------
    stream : text stream
        Where it writes; standard output by default.
    heartbeat : float
        Seconds without a line after which, off a terminal, one is written.
    clock : callable
        Seconds, monotonic.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    heartbeat: float = HEARTBEAT_SECONDS
    clock: Callable[[], float] = time.monotonic
    total: int = 0
    _began: float = 0.0
    _finished: int = 0
    _last_line: float = 0.0
    _drawn: bool = False
    _running: dict[str, Running] = field(default_factory=dict)
    _waiting: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._began = self._last_line = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._began

    def plan(self, titles: list[str]) -> None:
        """Say which steps there will be, in the order in which they are likely to start."""
        with self._lock:
            self.total, self._waiting = len(titles), list(titles)

    def began(self, title: str) -> None:
        """Say that a step begins."""
        with self._lock:
            if title in self._waiting:
                self._waiting.remove(title)
            self._running[title] = Running(title, self.clock())
            self.line(f"      ...     {title}")

    def note(self, title: str, text: str) -> None:
        """Say what a running step is doing; shown with the next sign of life."""
        with self._lock:
            if title in self._running:
                self._running[title].note = text

    def ended(self, title: str, word: str, outcome: str) -> None:
        """Say that a step ended: with ``done``, ``kept``, ``failed`` or ``stopped``."""
        with self._lock:
            step = self._running.pop(title, None)
            self._finished += word in ("done", "kept")
            seconds = self.clock() - step.since if step else 0.0
            told = f": {outcome}" if outcome else ""
            self.line(f"{self._finished:>2}/{self.total:<2} {word:<8}{title} ({seconds:.1f} s){told}")

    def line(self, text: str = "") -> None:
        """Write one line with the time since the start before it."""
        self.text(f"{_minutes(self.elapsed)}  {text}".rstrip())

    def text(self, text: str) -> None:
        """Write `text` as it is."""
        with self._lock:
            self._erase()
            self._write(text + "\n")
            self._last_line = self.clock()

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Give signs of life while the body runs."""
        over = threading.Event()
        terminal = self.stream.isatty()

        def tick() -> None:
            while not over.wait(REDRAW_SECONDS if terminal else min(1.0, self.heartbeat / 2)):
                self._redraw() if terminal else self._beat()

        ticker = threading.Thread(target=tick, name="progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()
            with self._lock:
                self._erase()

    def status(self) -> str:
        """Return what runs now, for how long, and what is next, in one line."""
        with self._lock:
            now = self.clock()
            parts = [
                f"{s.title} {now - s.since:.0f} s" + (f" ({s.note})" if s.note else "") for s in self._running.values()
            ]
            following = f"; next: {self._waiting[0]}" if self._waiting else ""
            return " | ".join(parts) + following if parts else ""

    def _beat(self) -> None:
        with self._lock:
            if self._running and self.clock() - self._last_line >= self.heartbeat:
                self.line(f"      still   {self.status()}")

    def _redraw(self) -> None:
        with self._lock:
            if not self._running:
                return
            width = shutil.get_terminal_size().columns - 1
            self._write("\r\x1b[K" + f"{_minutes(self.elapsed)}  {self.status()}"[:width])
            self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        # Whoever reads us may have gone (`make run | head`); stopping in order matters more than saying so.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.stream.write(text)
            self.stream.flush()


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):>2}:{seconds % 60:04.1f}"
