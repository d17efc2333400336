"""Caches versions that requests name by number. They are loaded on demand, and their number is limited."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator

from include.errors import ArtifactError, UnknownVersionError, VersionDeletedError
from include.inference import UnknownCategoryCounter
from include.registry import ArtifactStore
from model_service.db.executor import QueryExecutor
from model_service.http.errors import ArtifactVerificationError, LedgerUnavailableError
from model_service.models.loading import load_version
from model_service.models.registry import LoadedModel, ServedModel
from model_service.server.allocator import trim_heap

log = logging.getLogger(__name__)

MAX_VERSION = 2**31 - 1


class VersionCache:
    """Loaded versions other than the current ones of the registry.

    Parameters
    ----------
    executor : QueryExecutor or None
        Reads the ledger; None: only versions in memory are available.
    artifacts : ArtifactStore
    capacity : int
        Maximum number of versions; the least recently used one is evicted.
    unknown : UnknownCategoryCounter, optional
        Counts the values in requests that are categories which the version does not know.
    """

    def __init__(
        self,
        executor: QueryExecutor | None,
        artifacts: ArtifactStore,
        capacity: int,
        unknown: UnknownCategoryCounter | None = None,
    ) -> None:
        self._executor = executor
        self._artifacts = artifacts
        self._capacity = capacity
        self._unknown = unknown
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._loading: dict[tuple[str, int], threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._cached)

    def __iter__(self) -> Iterator[LoadedModel]:
        with self._lock:
            return iter(tuple(self._cached.values()))

    def get(self, served: ServedModel, version: str) -> LoadedModel:
        """Return a version of a model, which the path of a request names.

        Raises
        ------
        UnknownVersionError
            With the versions that exist.
        ArtifactVerificationError
            If its artifact does not match the ledger.
        LedgerUnavailableError
            If it is not in memory and the database does not respond.
        """
        current = served.current
        number = parse_version(version)
        if current is not None and current.version == number:
            return current
        if number is not None and number <= served.deleted_version:
            raise VersionDeletedError(served.name, number)
        if number is None:
            raise UnknownVersionError(served.name, version[:20], self._registered(served.name))
        return self._cached_or_loaded((served.name, number))

    def versions(self, served: ServedModel) -> list[int]:
        """Return the available versions of a model: the registered ones or, without the database, those in memory."""
        try:
            return self._registered(served.name)
        except LedgerUnavailableError:
            current = {served.current.version} if served.current else set()
            return sorted(current | {each.version for each in self if each.model == served.name})

    def _registered(self, model: str) -> list[int]:
        return self._reader().run_with_ledger(lambda ledger: ledger.version_numbers(model))

    def _reader(self) -> QueryExecutor:
        if self._executor is None:
            raise LedgerUnavailableError
        return self._executor

    def _cached_or_loaded(self, key: tuple[str, int]) -> LoadedModel:
        with self._lock:
            cached = self._cached.get(key)
            if cached is not None:
                self._cached.move_to_end(key)
                return cached
            load_lock = self._loading.setdefault(key, threading.Lock())
        with load_lock:  # other requests for this version wait until it is loaded
            with self._lock:
                cached = self._cached.get(key)
            if cached is not None:
                return cached
            try:
                loaded = self._load(*key)
                self._add(key, loaded)
                trim_heap()
            finally:
                with self._lock:
                    self._loading.pop(key, None)
        return loaded

    def _add(self, key: tuple[str, int], loaded: LoadedModel) -> None:
        with self._lock:
            self._cached[key] = loaded
            while len(self._cached) > self._capacity:
                self._cached.popitem(last=False)

    def _load(self, model: str, number: int) -> LoadedModel:
        version = self._reader().run_with_ledger(lambda ledger: ledger.version(model, number))
        try:
            return LoadedModel(load_version(self._artifacts, version), version, unknown=self._unknown)
        except ArtifactError as error:
            log.error("version %s of '%s' was requested and cannot be loaded: %s", number, model, error)  # noqa: TRY400
            raise ArtifactVerificationError(model, number) from error


def parse_version(text: str) -> int | None:
    """Return the version number in a path, or None if it is not one.

    >>> parse_version("3"), parse_version("03"), parse_version("x"), parse_version("9" * 5000)
    (3, None, None, None)
    """
    if text.isascii() and text.isdigit() and len(text) <= 10 and not text.startswith("0"):
        number = int(text)
        return number if number <= MAX_VERSION else None
    return None
