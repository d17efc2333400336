"""One launcher at a time for each home."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from include.errors import LocalStackError

STOPPED_WITHIN = 90.0


def lock_file(home: Path) -> Path:
    """Return the file that a running launcher holds locked; it holds the launcher's process id."""
    return home / "local" / "launcher.lock"


@contextlib.contextmanager
def only_launcher(home: Path) -> Iterator[None]:
    """Hold the home's lock while the body runs. The lock goes with the process, however that ends.

    Raises
    ------
    LocalStackError
        When another launcher holds it.
    """
    file = lock_file(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="ascii") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStackError(
                f"the stack of {home} runs already, started by process {_pid_in(file)}.",
                "Use that one, or stop it with Ctrl-C where it was started. "
                "For a second one beside it, set SLUICE_HOME to another folder.",
            ) from None
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        yield
        held.truncate(0)


def stop_launcher(home: Path) -> int | None:
    """Ask the home's launcher to stop, and wait until it has; return its process id, None if none runs.

    Raises
    ------
    LocalStackError
        When it does not stop.
    """
    file = lock_file(home)
    pid = None
    deadline = time.monotonic() + STOPPED_WITHIN
    while _is_held(file):
        holder = _pid_in(file)
        if holder is not None and holder != pid:
            pid = holder
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"expected process {pid}, which runs the stack of {home}, to stop within {STOPPED_WITHIN:.0f} s; "
                "it runs still.",
                f"kill -9 {pid}, then try again: what it started is found and stopped.",
            )
        time.sleep(0.1)
    return pid


def _is_held(file: Path) -> bool:
    try:
        with file.open("r", encoding="ascii") as probe:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _pid_in(file: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None
