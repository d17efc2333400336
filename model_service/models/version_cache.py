"""Versions that were asked for by number: loaded on demand, and only so many kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from include.errors import ArtifactError, UnknownVersionError
from include.registry import ArtifactStore
from model_service.db.ledger_reads import LedgerReads
from model_service.http.errors import ArtifactVerificationError, LedgerUnavailableError
from model_service.models.loading import load_version
from model_service.models.registry import LoadedModel, ServedModel
from model_service.server.allocator import trim_heap

MAX_VERSION = 2**31 - 1


class VersionCache:
    """Loaded versions other than those that answer as champions.

    Parameters
    ----------
    ledger : LedgerReads or None
        None: without a database only what is loaded already can be asked.
    artifacts : ArtifactStore
    capacity : int
        How many versions are kept; the one that was not asked for the longest makes way.
    """

    def __init__(self, ledger: LedgerReads | None, artifacts: ArtifactStore, capacity: int) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._loading: dict[tuple[str, int], threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[LoadedModel]:
        with self._lock:
            return iter(tuple(self._kept.values()))

    def get(self, served: ServedModel, version: str) -> LoadedModel:
        """Return a version of `served`'s model, as the path of a request wrote it.

        Raises
        ------
        UnknownVersionError
            With the versions that exist.
        ArtifactVerificationError
            If its artifact is not what the ledger says.
        LedgerUnavailableError
            If it is not in memory and the database does not answer.
        """
        current = served.current
        number = parse_version(version)
        if current is not None and current.version == number:
            return current
        if number is None:
            raise UnknownVersionError(served.name, version[:20], self._registered(served.name))
        return self._kept_or_loaded((served.name, number))

    def versions(self, served: ServedModel) -> list[int]:
        """Return the versions of a model that can be asked: without the database, those in memory."""
        try:
            return self._registered(served.name)
        except LedgerUnavailableError:
            current = {served.current.version} if served.current else set()
            return sorted(current | {each.version for each in self if each.model == served.name})

    def _registered(self, model: str) -> list[int]:
        return [each.version for each in self._reads().ask(lambda ledger: ledger.versions(model))]

    def _reads(self) -> LedgerReads:
        if self._ledger is None:
            raise LedgerUnavailableError
        return self._ledger

    def _kept_or_loaded(self, key: tuple[str, int]) -> LoadedModel:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
            gate = self._loading.setdefault(key, threading.Lock())
        with gate:  # whoever comes while it is being loaded waits, and finds it
            with self._lock:
                kept = self._kept.get(key)
            if kept is not None:
                return kept
            try:
                found = self._load(*key)
                self._keep(key, found)
                trim_heap()
            finally:
                with self._lock:
                    self._loading.pop(key, None)
        return found

    def _keep(self, key: tuple[str, int], loaded: LoadedModel) -> None:
        with self._lock:
            self._kept[key] = loaded
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)

    def _load(self, model: str, number: int) -> LoadedModel:
        version = self._reads().ask(lambda ledger: ledger.version(model, number))
        try:
            return LoadedModel(load_version(self._artifacts, version), version)
        except ArtifactError as error:
            raise ArtifactVerificationError(model, number, str(error)) from error


def parse_version(version: str) -> int | None:
    """Return the version that a path's text names, or None if it can be none.

    >>> parse_version("3"), parse_version("03"), parse_version("x"), parse_version("9" * 5000)
    (3, None, None, None)
    """
    if version.isascii() and version.isdigit() and len(version) <= 10 and not version.startswith("0"):
        number = int(version)
        return number if number <= MAX_VERSION else None
    return None
