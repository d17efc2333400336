"""The sandbox: a scratch home with one artifact, and the service that runs on it as it does in production."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.ports import any_free_port
from include.rehearsal.client import HOST
from include.rehearsal.environment import service_environment, token_of
from include.settings import Pin, Settings
from include.spec import ModelSpec

VERSION = 1
STOP_SECONDS = 15.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class ServiceSandbox:
    """What a rehearsal takes place on.

    Parameters
    ----------
    spec : ModelSpec
    home : Path
        A scratch home that nobody else uses, with the candidate under ``artifacts/<model>/1``.
    artifact_digest : str
        The digest of that artifact: the only one that the service may serve.
    settings : Settings
        Production's; what would reach beyond the scratch home is changed.
    log : Path
        Where the service's output goes.
    """

    spec: ModelSpec
    home: Path
    artifact_digest: str
    settings: Settings
    log: Path

    @property
    def artifact(self) -> Path:
        """Where the candidate's artifact lies."""
        return self.home / "artifacts" / self.spec.name / str(VERSION)

    @contextmanager
    def service(self) -> Iterator[Service]:
        """Start the service, and stop it in the end, whatever happened: nothing is left running."""
        self._declare()
        port, secret = any_free_port(HOST), secrets.token_hex(32)
        pin = Pin(version=VERSION, artifact_digest=self.artifact_digest)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                # -P: the working folder is no place to import from.
                [sys.executable, "-P", "-m", "model_service"],
                env=service_environment(self.settings, self.spec.name, self.home, pin, port, secret),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # the child is about to run another program
            )
        try:
            yield Service(process, port, token_of(self.settings, secret), self.log)
        finally:
            _stop(process)

    def _declare(self) -> None:
        """Copy the declaration of this one model: the service then knows no other."""
        copied = self.home / "models" / self.spec.name
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(self.spec.folder, copied, ignore=shutil.ignore_patterns("__pycache__"))


@dataclass(frozen=True, slots=True)
class Service:
    """The service under rehearsal."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path

    @property
    def alive(self) -> bool:
        """Whether its main process still runs."""
        return self.process.poll() is None

    def memory_mib(self) -> float | None:
        """Return what the largest worker holds, in MiB.

        PSS, where a page that n processes share counts 1/n for each; USS where the system has no PSS.
        None when it cannot be read.
        """
        held: list[int] = []
        with suppress(psutil.Error):
            for worker in psutil.Process(self.process.pid).children():
                memory = worker.memory_full_info()
                held.append(getattr(memory, "pss", memory.uss))
        return max(held) / 2**20 if held else None

    def log_tail(self, lines: int = 3) -> str:
        """Return the end of what it said."""
        said = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip()[:300] for line in said[-lines:]) or "(nothing)"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Tell the service to stop, as an operator does; whatever of it does not heed that is killed."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):  # macOS answers the latter for a group that is gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_with_parent() -> None:
    """In the child, before it runs the service: have the kernel stop it when we are killed.

    A task that is killed -9 runs no `finally`. Linux only; elsewhere such a service stays until it is found.
    Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
