"""Keeps a worker's registry at the ledger's champions, without a restart and without a failed request.

A promotion is seen at once by LISTEN, and by polling at the latest. The new version is verified,
loaded and asked its golden rows beside the old one; only then is one reference replaced. When
anything is wrong with the new version the old one stays, and the fault is shown by ``/ready``.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from include.errors import SluiceError
from include.models import declared_models
from include.records import Promotion
from include.registry import ArtifactStore, Ledger
from model_service.models.loading import load_version
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel
from model_service.server.allocator import trim_heap
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

CHANNEL = "sluice_promotion"
MAX_BACKOFF_SECONDS = 30.0

Fingerprint = tuple[tuple[str, int, int], ...]


class ReloadListener(Protocol):
    """Whoever is told what the watcher does."""

    def on_reload(self, model: str) -> None:
        """Note that a version of `model` was put in force."""

    def on_load_failure(self, model: str, version: int, reason: str) -> None:
        """Note that the champion's artifact was refused."""


class ChampionWatcher:
    """Watches the ledger and the folder of models on behalf of one worker.

    Parameters
    ----------
    registry : ModelRegistry
        What this watcher alone writes to.
    engine : sqlalchemy.Engine
    artifacts : ArtifactStore
    models_dir : Path
    poll_seconds : float
        How often the ledger is asked when no notification comes.
    listener : ReloadListener, optional
        Who is told of every version put in force, and of every one refused.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        engine: Engine,
        *,
        artifacts: ArtifactStore,
        models_dir: Path,
        poll_seconds: float = 0.5,
        listener: ReloadListener | None = None,
    ) -> None:
        self._registry = registry
        self._engine = engine
        self._ledger = Ledger(engine)
        self._artifacts = artifacts
        self._models_dir = models_dir
        self._poll_seconds = poll_seconds
        self._listener = listener
        self._declared: Fingerprint | None = None
        self._retries: dict[str, _Retry] = {}
        self._polled = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> threading.Thread:
        """Watch in a thread of its own. Call it in the worker: a thread does not survive a fork."""
        thread = threading.Thread(target=self._watch, name="champion-watcher", daemon=True)
        thread.start()
        return thread

    def wait_ready(self, seconds: float) -> None:
        """Return when the first turn is over, or `seconds` have passed: the database may be slow or down."""
        self._polled.wait(seconds)

    def stop(self) -> None:
        """Have the thread end after its present turn."""
        self._stopping.set()

    def poll_once(self) -> None:
        """Take one turn: read the declarations if they changed, then the ledger, and load what is new."""
        self._read_declarations()
        try:
            champions = self._ledger.champions()
        except SQLAlchemyError as error:
            self._note_ledger_fault(f"the ledger cannot be read: {str(error).splitlines()[0]}")
            return
        self._note_ledger_fault(None)
        for served in self._registry:
            served.champion = champions.get(served.name)
            served.champion_known = True
            if served.champion is not None:
                self._follow(served, served.champion)

    def _watch(self) -> None:
        bell = _NotificationListener(self._engine)
        while not self._stopping.is_set():
            try:
                self.poll_once()
            except Exception as error:  # noqa: BLE001  # the watcher must outlive whatever goes wrong in one turn
                log_unexpected(log, f"the watcher's turn failed, it looks again in {self._poll_seconds} s", error)
            self._polled.set()
            if not bell.wait(self._poll_seconds):
                self._stopping.wait(self._poll_seconds)
        bell.close()

    def _read_declarations(self) -> None:
        fingerprint = _fingerprint(self._models_dir)
        if fingerprint == self._declared:
            return
        declared = declared_models(self._models_dir)
        broken = {error.file.parent.name: str(error) for error in declared.broken}
        for name, fault in broken.items():
            log.error("model '%s' is declared wrongly; its champion is served all the same: %s", name, fault)
        self._registry.sync(declared.specs, broken)
        self._declared = fingerprint

    def _follow(self, served: ServedModel, champion: Promotion) -> None:
        current = served.current
        if current is not None and current.promotion == champion:
            served.load_error = None
            return
        retry = self._retries.get(served.name)
        if retry is not None and retry.sequence == champion.sequence and time.monotonic() < retry.at:
            return
        try:
            served.current = self._load(champion, current)
        except Exception as error:  # noqa: BLE001  # whatever it is, this version goes on, and other models are followed
            self._record_load_failure(served, champion, error)
        else:
            served.load_error = None
            self._retries.pop(served.name, None)
            if self._listener is not None:
                self._listener.on_reload(served.name)
            del current  # or the former model would be given back by the next swap only
            trim_heap()
            log.info(
                "model '%s' is served by version %s (sequence %s)", served.name, champion.to_version, champion.sequence
            )

    def _load(self, champion: Promotion, current: LoadedModel | None) -> LoadedModel:
        registered = self._ledger.version(champion.model, champion.to_version)
        if current is not None and current.artifact_digest == registered.artifact_digest:
            return LoadedModel(current.scorer, registered, champion)
        return LoadedModel(load_version(self._artifacts, registered), registered, champion)

    def _record_load_failure(self, served: ServedModel, champion: Promotion, error: Exception) -> None:
        serving = f"version {served.current.version} goes on serving" if served.current else "nothing is served"
        why = str(error) if isinstance(error, SluiceError) else f"{type(error).__name__}: {error}"
        served.load_error = f"version {champion.to_version} was refused, {serving}: {why}"
        before = self._retries.get(served.name)
        pause = min(before.pause * 2, MAX_BACKOFF_SECONDS) if before and before.sequence == champion.sequence else 1.0
        self._retries[served.name] = _Retry(champion.sequence, pause)
        if self._listener is not None and not isinstance(error, SQLAlchemyError):  # no artifact's fault
            self._listener.on_load_failure(served.name, champion.to_version, served.load_error)
        log.error("model '%s': %s; tried again in %.0f s", served.name, served.load_error, pause)
        if not isinstance(error, SluiceError | SQLAlchemyError):
            log_unexpected(log, f"model '{served.name}': its champion could not be loaded", error)

    def _note_ledger_fault(self, fault: str | None) -> None:
        if fault != self._registry.ledger_error:
            if fault:
                log.error("%s; what is loaded goes on serving", fault)
            else:
                log.info("the ledger can be read again")
        self._registry.ledger_error = fault


class _Retry:
    """When a champion that could not be loaded is tried again: an artifact may be restored meanwhile."""

    __slots__ = ("at", "pause", "sequence")

    def __init__(self, sequence: int, pause: float) -> None:
        self.sequence, self.pause = sequence, pause
        self.at = time.monotonic() + pause


class _NotificationListener:
    """Waits for a promotion's notification on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def wait(self, seconds: float) -> bool:
        """Return when a promotion was announced or `seconds` have passed; False if it cannot listen."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.execute(text(f"LISTEN {CHANNEL}"))
                return True  # a promotion may have slipped by before we listened: look once more
            driver = self._connection.connection.driver_connection
            assert driver is not None  # noqa: S101  # an open connection has one
            for _ in driver.notifies(timeout=seconds, stop_after=1):
                pass
        except Exception as error:  # noqa: BLE001  # psycopg's and SQLAlchemy's alike: polling goes on without
            log.debug("not listening for promotions: %s", error)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _fingerprint(models_dir: Path) -> Fingerprint:
    files = (file for pattern in ("*/spec.py", "*/features.sql") for file in models_dir.glob(pattern))
    return tuple(sorted((str(file), stat.st_mtime_ns, stat.st_size) for file in files if (stat := file.stat())))
