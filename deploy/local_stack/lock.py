"""One launcher at a time for each home."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local_stack.errors import LocalStackError

STOP_TIMEOUT_SECONDS = 90.0


def lock_file(home: Path) -> Path:
    """Return the file that a running launcher keeps locked; it contains the launcher's process id."""
    return home / "local" / "launcher.lock"


@contextlib.contextmanager
def launcher_lock(home: Path) -> Iterator[None]:
    """Hold the home's lock while the body runs. The system frees it when the process ends, however it ends.

    Raises
    ------
    LocalStackError
        When another launcher holds it.
    """
    file = lock_file(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="ascii") as locked:
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStackError(
                f"the stack of {home} is already running, started by process {_read_pid(file)}.",
                "Use it, or stop it with Ctrl-C where it was started. "
                "To run a second stack beside it, set SLUICE_HOME to another folder.",
            ) from None
        locked.truncate(0)
        locked.write(f"{os.getpid()}\n")
        locked.flush()
        yield
        locked.truncate(0)


def stop_launcher(home: Path) -> int | None:
    """Stop the home's launcher, and wait until it has ended; return its process id, None if none runs.

    Raises
    ------
    LocalStackError
        When it does not end in time.
    """
    file = lock_file(home)
    pid = None
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while _is_locked(file):
        holder = _read_pid(file)
        if holder is not None and holder != pid:
            pid = holder
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"expected process {pid}, which runs the stack of {home}, to stop within "
                f"{STOP_TIMEOUT_SECONDS:.0f} s; it is still running.",
                f"Run kill -9 {pid}, then try again: the processes that it started are found and stopped.",
            )
        time.sleep(0.1)
    return pid


def _is_locked(file: Path) -> bool:
    try:
        with file.open("r", encoding="ascii") as probe:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _read_pid(file: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None
