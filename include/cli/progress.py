"""Shows the steps of a command: elapsed time and how far the running one is, and a line for each that is done.

On a terminal, the running step is a line that is updated and then replaced. Elsewhere, in a pipe or in CI, there are
whole lines only and no control characters; a slow step has a line after 10, 30, 70 seconds and so on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from typing import Final

from include.cli.exit_status import OutputError
from include.errors import SluiceError
from include.progress import repeated_in_background, sentence

HEARTBEAT_SECONDS: Final = 10.0
UPDATES_PER_SECOND: Final = 4


class StepDisplay:
    """Shows one step at a time on standard output; the `Progress` of the steps.

    Parameters
    ----------
    heartbeat : float
        Where it is no terminal: seconds after which a running step has a line. The next waits twice as long.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, heartbeat: float = HEARTBEAT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._heartbeat = heartbeat
        self._clock = clock
        self._title = self._note = ""
        self._started = clock()
        self._animate: Callable[[], AbstractContextManager[object]] = (
            self._updated_line if _is_terminal() else self._heartbeats
        )

    def report(self, what: str, done: int, total: int | None = None) -> None:
        """Set how far the running step is."""
        self._note = sentence(what, done, total)

    @contextmanager
    def step(self, title: str, *, lasting: bool = True) -> Iterator[None]:
        """Show a step while the body runs it, and the time that it took.

        Parameters
        ----------
        lasting : bool
            Whether a line stays when it is done; one that failed has no line then, either.
        """
        self._title, self._note, self._started = title, "", self._clock()
        ended = "interrupted"
        try:
            with self._animate():
                yield
            ended = ""
        except SluiceError:
            ended = "failed"
            raise
        finally:
            if lasting:
                spent = f"{self.elapsed:.1f} s"
                sys.stdout.write(f"{title:<9} … {f'{ended} after {spent}' if ended else spent}\n")

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._started

    def __str__(self) -> str:
        note = f"  {self._note}" if self._note else ""
        return f"{self._title:<9} … {self.elapsed:.0f} s{note}"

    @contextmanager
    def _updated_line(self) -> Iterator[None]:
        from rich.console import Console  # not for --help
        from rich.live import Live
        from rich.text import Text

        console = Console(file=sys.stdout, force_terminal=True, highlight=False)
        with Live(
            get_renderable=lambda: Text(str(self), no_wrap=True, overflow="ellipsis"),
            console=console,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def _heartbeats(self) -> AbstractContextManager[None]:
        return repeated_in_background(self._write_line, (self._heartbeat * 2**number for number in count()))

    def _write_line(self) -> None:
        with suppress(OutputError):  # the command itself meets it with its next line
            sys.stdout.write(f"{self}\n")
            sys.stdout.flush()


def _is_terminal() -> bool:
    """Return whether lines can be updated. The stream alone decides: no FORCE_COLOR brings control characters."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console(file=sys.stdout).is_dumb_terminal
