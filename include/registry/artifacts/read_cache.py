"""Files of artifacts that this host has read before, each stored under its SHA-256 and verified at every read."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from include.errors import ArtifactError
from include.provenance import read_regular_file
from include.telemetry import FaultLog

log = logging.getLogger(__name__)

MAX_BYTES = 4 << 30


class ReadCache:
    """A folder of files named by their SHA-256, of bounded size.

    It never fails: if it cannot be written, everything is read from the store, and a warning says so.

    Parameters
    ----------
    folder : Path
    max_bytes : int
        Maximum size; the least recently read files are removed first.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._fault = FaultLog(log, f"artifacts are not cached in {folder}, each is read from the store")

    def read(self, digest: str, *, size: int | None, keep: bool) -> bytes | None:
        """Return the content with this SHA-256 (nothing, if it is not to be kept), or None when it is not cached.

        A file with another content is removed, and counts as not cached.
        """
        file = self._folder / digest
        try:
            content = read_regular_file(file, digest=digest, size=size, keep=keep)
            os.utime(file)
        except ArtifactError:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
            return None
        except OSError:
            return None
        return content

    @contextlib.contextmanager
    def filling(self, digest: str) -> Iterator[Filling]:
        """Add a content piece by piece; it is cached when the block ends without an error."""
        filling = Filling(self._folder, self._fault)
        try:
            yield filling
        except BaseException:
            filling.drop()
            raise
        filling.become(self._folder / digest)
        self._shrink(digest)

    def _shrink(self, newest: str) -> None:
        with contextlib.suppress(OSError):
            known = [(path.stat(), path) for path in self._folder.iterdir() if path.name != newest]
            held = sum(status.st_size for status, _ in known) + (self._folder / newest).stat().st_size
            for status, path in sorted(known, key=lambda each: each[0].st_mtime):
                if held <= self._max_bytes:
                    return
                path.unlink(missing_ok=True)
                held -= status.st_size


class Filling:
    """A file of the cache while it is written. After an error of the disk, only the caching stops, not the reading."""

    def __init__(self, folder: Path, fault: FaultLog) -> None:
        self._file: BinaryIO | None = None
        self._fault = fault
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
            self._file, self._path = os.fdopen(descriptor, "wb"), Path(name)
        except OSError as error:
            self._fail(error)

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        if self._file is not None:
            try:
                self._file.write(piece)
            except OSError as error:
                self._fail(error)

    def become(self, path: Path) -> None:
        """Rename the file to its final name, so that another process sees all of it or nothing."""
        if self._file is not None:
            try:
                self._file.close()
                self._path.rename(path)
                self._fault.worked()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._fault.failed(error.strerror or type(error).__name__)
        self.drop()

    def drop(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file = None
