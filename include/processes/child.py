"""Starting a child process, and reading its memory and its log."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1  # linux/prctl.h
TAIL_BYTES = 40_000


def start_process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    log: Path,
    end_with_parent: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a new session, so that a terminal's Ctrl-C does not reach it.

    Parameters
    ----------
    environment : mapping of str to str
        The whole environment of the child.
    cwd : Path
        Its working folder.
    log : Path
        Standard output and standard error are appended to this file.
    end_with_parent : bool
        Send SIGTERM to the child when the thread that called this function ends, also by kill -9. Linux only.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  # a list of arguments, no shell
            list(command),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=parent_death_signal(os.getpid())
            if end_with_parent
            else None,  # the child executes another program next
        )


def parent_death_signal(parent: int) -> Callable[[], None] | None:
    """Return the function that a child calls first, so that it ends with `parent`; None if there is no `prctl`.

    A task that is killed with -9 runs no `finally`. On another system than Linux such a child keeps running.
    Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return None

    def ask_the_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent was killed before the kernel knew
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_the_kernel


def log_tail(log: Path, lines: int = 4, *, prefer_errors: bool = False) -> str:
    """Return the last lines of `log`, joined by slashes, or ``(nothing)``.

    Parameters
    ----------
    prefer_errors : bool
        If any line mentions an error, return only the last lines that do.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            written = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return "(nothing)"
    errors = [line for line in written if "error" in line.lower() or "exception" in line.lower()]
    shown = errors if errors and prefer_errors else written
    return " / ".join(line[:300] for line in shown[-lines:]) or "(nothing)"


def memory_in_use(process: psutil.Process) -> tuple[int, str]:
    """Return the bytes of memory that a process holds, and the measure: ``PSS`` or ``USS``.

    With PSS, a page that n processes share counts 1/n for each, so that the sum over processes is the memory used. If
    the system has no PSS (macOS), it is USS, which counts only private pages.

    Raises
    ------
    psutil.Error
        When the process has ended, or belongs to another user.
    """
    memory = process.memory_full_info()
    if hasattr(memory, "pss"):
        return int(memory.pss), "PSS"
    return int(memory.uss), "USS"
