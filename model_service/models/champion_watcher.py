"""Keeps a worker's registry at the champions of the ledger, without a restart and without a failed request.

A promotion is noticed immediately by LISTEN, and by polling at the latest. The new version is verified, loaded and
checked with its golden rows beside the old one; only then one reference is replaced. If anything is wrong with the
new version, the old one continues to answer, and ``/ready`` reports the error.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from include.errors import SluiceError
from include.models import declared_models
from include.records import Promotion
from include.registry import ArtifactStore, Ledger
from model_service.models.loading import load_version, verify_version
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel
from model_service.server.allocator import trim_heap
from model_service.server.backoff import Backoff
from model_service.server.log_unexpected import log_unexpected

log = logging.getLogger(__name__)

CHANNEL: Final = "sluice_promotion"
FIRST_BACKOFF_SECONDS: Final = 1.0
MAX_BACKOFF_SECONDS: Final = 30.0

Fingerprint = tuple[tuple[str, int, int], ...]


class ReloadListener(Protocol):
    """Is notified of what the watcher does."""

    def on_reload(self, model: str) -> None:
        """Handle that a version of `model` began to answer."""

    def on_load_failure(self, model: str, version: int, reason: str) -> None:
        """Handle that the champion's artifact could not be loaded."""


class ChampionWatcher:
    """Watches the ledger and the folder of models on behalf of one worker.

    Parameters
    ----------
    registry : ModelRegistry
        Only this watcher writes to it.
    engine : sqlalchemy.Engine
    artifacts : ArtifactStore
    models_dir : Path
    poll_seconds : float
        Interval between polls of the ledger when no notification arrives.
    listener : ReloadListener, optional
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
        self._fingerprint: Fingerprint | None = None
        self._retries: dict[str, _Retry] = {}
        self._polled = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> threading.Thread:
        """Watch in a new thread. Call it in the worker: threads do not survive a fork."""
        thread = threading.Thread(target=self._watch, name="champion-watcher", daemon=True)
        thread.start()
        return thread

    def wait_ready(self, seconds: float) -> None:
        """Wait for the end of the first poll, at most `seconds`: the database may be slow or down."""
        self._polled.wait(seconds)

    def stop(self) -> None:
        """End the thread after its current poll."""
        self._stopping.set()

    def poll_once(self) -> None:
        """Read the declarations if they changed, then the ledger, and load new champions."""
        self._read_declarations()
        try:
            champions, deleted = self._ledger.champions(), self._ledger.deleted_versions()
        except SQLAlchemyError as error:
            self._set_ledger_error(f"the ledger cannot be read: {str(error).splitlines()[0]}")
            return
        self._set_ledger_error(None)
        for served in self._registry:
            served.champion = champions.get(served.name)
            served.champion_known = True
            served.deleted_version = deleted.get(served.name, 0)
            if served.champion is not None:
                self._follow(served, served.champion)
            elif served.pin is None:
                self._unload_deleted(served)

    def _watch(self) -> None:
        notifications = _NotificationListener(self._engine)
        while not self._stopping.is_set():
            try:
                self.poll_once()
            except Exception as error:  # noqa: BLE001  # the thread must survive any failure of one poll
                log_unexpected(log, f"polling the ledger failed; it is retried in {self._poll_seconds} s", error)
            self._polled.set()
            if not notifications.wait(self._poll_seconds):
                self._stopping.wait(self._poll_seconds)
        notifications.close()

    def _read_declarations(self) -> None:
        fingerprint = _fingerprint(self._models_dir)
        if fingerprint == self._fingerprint:
            return
        declared = declared_models(self._models_dir)
        invalid_specs = {error.file.parent.name: str(error) for error in declared.broken}
        for name, reason in invalid_specs.items():
            log.error("model '%s' has an invalid declaration; its champion is served nevertheless: %s", name, reason)
        self._registry.sync(declared.specs, invalid_specs)
        self._fingerprint = fingerprint

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
        except Exception as error:  # noqa: BLE001  # whatever it is: keep this version, and follow the other models
            self._record_load_failure(served, champion, error)
        else:
            served.load_error = None
            self._retries.pop(served.name, None)
            if self._listener is not None:
                self._listener.on_reload(served.name)
            del current  # otherwise the memory of the previous version would be freed at the next reload only
            trim_heap()
            log.info(
                "model '%s': serving version %s (sequence %s)", served.name, champion.to_version, champion.sequence
            )

    def _unload_deleted(self, served: ServedModel) -> None:
        """Stop serving a model that was deleted, although this host still has its declaration."""
        if served.current is None or served.current.version > served.deleted_version:
            return
        served.current, served.load_error = None, None
        self._retries.pop(served.name, None)
        trim_heap()
        log.warning("model '%s' was deleted: no version of it is served any more", served.name)

    def _load(self, champion: Promotion, current: LoadedModel | None) -> LoadedModel:
        registered = self._ledger.version(champion.model, champion.to_version)
        if current is not None and current.artifact_digest == registered.artifact_digest:
            verify_version(self._artifacts, registered)
            scorer = current.scorer
        else:
            scorer = load_version(self._artifacts, registered)
        return LoadedModel(scorer, registered, champion, self._registry.unknown_categories)

    def _record_load_failure(self, served: ServedModel, champion: Promotion, error: Exception) -> None:
        current = served.current
        serving = f"continuing to serve version {current.version}" if current else "no version is served"
        reason = str(error) if isinstance(error, SluiceError) else f"{type(error).__name__}: {error}"
        served.load_error = f"version {champion.to_version} could not be loaded, {serving}: {reason}"
        retry = self._retries.get(served.name)
        if retry is None or retry.sequence != champion.sequence:
            retry = self._retries[served.name] = _Retry(champion.sequence)
        pause = retry.failed()
        if self._listener is not None and not isinstance(error, SQLAlchemyError):  # that is not the artifact's fault
            self._listener.on_load_failure(served.name, champion.to_version, served.load_error)
        log.error("model '%s': %s; next attempt in %.0f s", served.name, served.load_error, pause)
        if not isinstance(error, SluiceError | SQLAlchemyError):
            log_unexpected(log, f"model '{served.name}': the champion could not be loaded", error)

    def _set_ledger_error(self, error: str | None) -> None:
        if error != self._registry.ledger_error:
            if error:
                log.error("%s; continuing to serve the loaded versions", error)
            else:
                log.info("the ledger can be read again")
        self._registry.ledger_error = error


class _Retry:
    """When to retry a champion that could not be loaded: its artifact may be restored meanwhile."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.at = 0.0
        self._backoff = Backoff(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)

    def failed(self) -> float:
        """Record a failure and return the seconds until the next attempt."""
        pause = self._backoff.failed()
        self.at = time.monotonic() + pause
        return pause


class _NotificationListener:
    """Waits for the notification of a promotion, on its own connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def wait(self, seconds: float) -> bool:
        """Wait for a promotion, at most `seconds`; False: listening is not possible."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.execute(text(f"LISTEN {CHANNEL}"))
                return True  # a promotion may have been committed before we listened: poll once more
            driver = self._connection.connection.driver_connection
            assert driver is not None  # noqa: S101  # an open connection has one
            for _ in driver.notifies(timeout=seconds, stop_after=1):
                pass
        except Exception as error:  # noqa: BLE001  # errors of psycopg and SQLAlchemy alike: polling continues
            log.debug("not listening for promotions: %s", error)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _fingerprint(models_dir: Path) -> Fingerprint:
    files = (file for pattern in ("*/spec.py", "*/features.sql") for file in models_dir.glob(pattern))
    return tuple(sorted((str(file), stat.st_mtime_ns, stat.st_size) for file in files if (stat := file.stat())))
