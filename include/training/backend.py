"""Where joblib runs the parallel parts of a training: in this machine's processes or threads, or on a cluster."""

from __future__ import annotations

import contextlib
import importlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from include.errors import TrainingBackendError

SECONDS_TO_CONNECT = 30


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend of joblib as the settings name it.

    Attributes
    ----------
    name : {"loky", "threading", "dask", "ray"} or None
        None: whatever the estimator and joblib choose.
    address : str or None
        The scheduler of a Dask or Ray cluster.
    jobs : int
        ``n_jobs`` of estimators that do not set it; -1: as many as there are cores.
    """

    name: str | None = None
    address: str | None = None
    jobs: int = 1

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Run what joblib parallelises in the body on this backend.

        Raises
        ------
        TrainingBackendError
            When its library is missing, or the cluster does not answer.
        """
        if self.name is None:
            yield
            return
        import joblib

        with contextlib.ExitStack() as stack:
            if self.name == "dask":
                stack.enter_context(self._dask())
            elif self.name == "ray":
                stack.enter_context(self._ray())
            options: dict[str, Any] = {"backend": self.name, "n_jobs": self.jobs}
            stack.enter_context(joblib.parallel_config(**options))
            yield

    @contextlib.contextmanager
    def _dask(self) -> Iterator[None]:
        distributed = self._library("distributed", "dask[distributed]")
        if self.address is None:
            raise TrainingBackendError(
                "dask", "no scheduler is named", "Set SLUICE_TRAIN_CLUSTER_ADDRESS=tcp://host:8786."
            )
        try:
            # Joblib's backend finds the client that is current when it is activated.
            client = distributed.Client(self.address, timeout=SECONDS_TO_CONNECT, set_as_default=True)
        except (OSError, TimeoutError) as error:
            raise TrainingBackendError(
                "dask",
                f"the scheduler at {self.address} does not answer ({type(error).__name__})",
                "Start it (`dask scheduler`, `dask worker ADDRESS`), or correct SLUICE_TRAIN_CLUSTER_ADDRESS.",
            ) from error
        with client:
            yield

    @contextlib.contextmanager
    def _ray(self) -> Iterator[None]:
        ray = self._library("ray", "ray")
        self._library("ray.util.joblib", "ray").register_ray()
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if host and port.isdigit():
            # Asked first: Ray tries for five minutes, and then ends the process.
            try:
                socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()
            except OSError as error:
                raise self._silent_ray(error) from error
        try:
            ray.init(address=self.address, log_to_driver=False)
        except (OSError, ValueError) as error:
            raise self._silent_ray(error) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _silent_ray(self, error: Exception) -> TrainingBackendError:
        return TrainingBackendError(
            "ray",
            f"the cluster at {self.address} does not answer ({type(error).__name__})",
            "Start it (`ray start --head`), or correct SLUICE_TRAIN_CLUSTER_ADDRESS; without it, Ray starts here.",
        )

    def _library(self, module: str, package: str) -> ModuleType:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise TrainingBackendError(
                self.name or "", f"the package {package} is not installed", f"pip install '{package}', then run again."
            ) from error
