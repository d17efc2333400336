"""The sandbox: a scratch home with one artifact, and the service that runs on it as in production."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from include import tokens
from include.ports import any_free_port
from include.processes import log_tail, memory_in_use, session_processes, start_process, terminate
from include.rehearsal.environment import ANSWER_SECONDS, HOST, service_environment
from include.service_client import ServiceClient
from include.settings import Pin, Settings
from include.spec import ModelSpec

VERSION = 1
STOP_SECONDS = 15.0
TOKEN_SECONDS = 600


@dataclass(frozen=True, slots=True)
class ServiceSandbox:
    """A scratch home with the candidate's artifact, and the service that runs on it.

    Parameters
    ----------
    spec : ModelSpec
    home : Path
        A scratch home that nobody else uses, with the candidate under ``artifacts/<model>/1``.
    artifact_digest : str
        The digest of that artifact: the only one that the service may serve.
    settings : Settings
        The settings of production; those that reach beyond the scratch home are changed.
    log : Path
        The file for the service's output.
    """

    spec: ModelSpec
    home: Path
    artifact_digest: str
    settings: Settings
    log: Path

    @property
    def artifact(self) -> Path:
        """The folder of the candidate's artifact."""
        return self.home / "artifacts" / self.spec.name / str(VERSION)

    @contextmanager
    def service(self) -> Iterator[Service]:
        """Start the service, and stop it at the end in any case: no process is left running."""
        self._declare()
        port, secret = any_free_port(HOST), secrets.token_hex(32)
        pin = Pin(version=VERSION, artifact_digest=self.artifact_digest)
        process = start_process(
            # -P: nothing is imported from the working folder.
            [sys.executable, "-P", "-m", "model_service"],
            environment=service_environment(self.settings, self.spec.name, self.home, pin, port, secret),
            cwd=self.home,
            log=self.log,
            end_with_parent=True,  # a task that is killed with -9 runs no `finally`
        )
        try:
            token = tokens.mint(self.settings, secret, "rehearsal", ("predict", "models"), TOKEN_SECONDS)
            yield Service(process, port, ServiceClient(f"http://{HOST}:{port}", token, ANSWER_SECONDS), self.log)
        finally:
            _stop(process)

    def _declare(self) -> None:
        """Copy the declaration of this one model, so that the service knows no other."""
        copied = self.home / "models" / self.spec.name
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(self.spec.folder, copied, ignore=shutil.ignore_patterns("__pycache__"))


@dataclass(frozen=True, slots=True)
class Service:
    """The service under rehearsal."""

    process: subprocess.Popen[bytes]
    port: int
    client: ServiceClient
    log: Path

    @property
    def alive(self) -> bool:
        """Whether its main process still runs."""
        return self.process.poll() is None

    def memory_mib(self) -> float | None:
        """Return the memory of the largest worker in MiB, as `memory_in_use` measures it; None when it is unknown."""
        sizes: list[int] = []
        with suppress(psutil.Error):
            sizes.extend(memory_in_use(worker)[0] for worker in psutil.Process(self.process.pid).children())
        return max(sizes) / 2**20 if sizes else None

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return log_tail(self.log, lines=3)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the service with SIGTERM, as an operator does; kill the processes that are left after 15 s."""
    terminate(session_processes({process.pid}), STOP_SECONDS)
    process.wait()
