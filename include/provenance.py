"""The origin of an artifact: digests of files and of the code, and the versions of the libraries."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from include.errors import ArtifactError

LIBRARIES = ("numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "skl2onnx")
OPTIONAL_LIBRARIES = ("catboost", "lightgbm", "xgboost", "xgboost-cpu")
"""Those of deploy/extras/, which are recorded where they are installed."""

_MIB = 1 << 20
MAX_FILE_BYTES = MappingProxyType(
    {
        "manifest.json": _MIB,
        "manifest.sig": _MIB,
        "features.sql": _MIB,
        "signature.json": 16 * _MIB,
        "golden.json": 64 * _MIB,
        "card.html": 64 * _MIB,
        "evidence.json": 64 * _MIB,
        "model.onnx": 2048 * _MIB,  # a message of Protocol Buffers cannot be larger
    }
)
"""Maximum sizes of an artifact's files that are read into memory as a whole, by name."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileSource(Protocol):
    """A place with files to verify: a folder, or a version in an object store."""

    @property
    def location(self) -> str:
        """The folder or the URL, for messages."""

    def names(self) -> set[str]:
        """Return the names of all files."""

    def read(self, name: str, *, digest: str | None = None, size: int | None = None, keep: bool = True) -> bytes:
        """Read a file and verify it; return its content, or nothing when it is not to be kept.

        Parameters
        ----------
        digest : str, optional
            The expected SHA-256 in hex.
        size : int, optional
            The expected number of bytes; checked before they are read.

        Raises
        ------
        ArtifactError
            When the file is missing, or its digest or size is not the expected one.
        """


class Folder:
    """A folder as a `FileSource`.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._path)

    def names(self) -> set[str]:
        """Return the names of everything in the folder, including what is not a regular file."""
        return {path.name for path in self._path.iterdir()}

    def read(self, name: str, *, digest: str | None = None, size: int | None = None, keep: bool = True) -> bytes:
        """Read a regular file and verify it; see `FileSource.read`."""
        return read_regular_file(self._path / name, digest=digest, size=size, keep=keep)


class VerifiedFiles:
    """Files whose content is returned only if it has the expected digest.

    Parameters
    ----------
    source : Path or FileSource
        The folder or other place with the files.
    digests : mapping of str to str
        The SHA-256 in hex of each file.
    kept : mapping of str to bytes, optional
        Contents that were already read and verified.
    sizes : mapping of str to int, optional
        The number of bytes of each file, where it is known.
    """

    def __init__(
        self,
        source: Path | FileSource,
        digests: Mapping[str, str],
        kept: Mapping[str, bytes] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._source = Folder(source) if isinstance(source, Path) else source
        self._kept = kept or {}
        self._sizes = sizes or {}
        self.digests = digests

    @property
    def location(self) -> str:
        """Where the files are, for messages."""
        return self._source.location

    def read(self, name: str) -> bytes:
        """Return the verified content of a file, even if the file has changed since.

        Raises
        ------
        ArtifactError
            When the file is missing, or does not have its digest.
        """
        if name in self._kept:
            return self._kept[name]
        if name not in self.digests:
            raise ArtifactError(
                f"{self.location}: expected {name}; found {', '.join(sorted(self.digests)) or 'nothing'}. "
                "It was written by another version of Sluice: train the model again."
            )
        return self._source.read(name, digest=self.digests[name], size=self._sizes.get(name))


def read_regular_file(path: Path, *, digest: str | None = None, size: int | None = None, keep: bool = True) -> bytes:
    """Read a regular file once and verify it; return its content, or nothing if it is not to be kept.

    Links are refused, since they would let a file outside the folder be swapped after the check.

    Raises
    ------
    ArtifactError
        When it is missing or not a regular file (a link, a folder), or when its SHA-256 is not `digest` or its
        length is not `size`, where these are known; and when it is to be kept and larger than `MAX_FILE_BYTES`.
    """
    try:
        # Non-blocking: opening a pipe would wait for whoever writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise missing(path) from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _not_plain(path) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_plain(path)
        if size is not None and status.st_size != size:
            raise wrong_size(path, digest, size, status.st_size)
        if keep:
            check_memory(path, path.name, status.st_size)
        content = file.read() if keep else b""
        found = (hashlib.sha256(content) if keep else hashlib.file_digest(file, "sha256")).hexdigest()
    if digest is not None and found != digest:
        raise digest_mismatch(path, digest, found)
    return content


def check_memory(place: Path | str, name: str, found: int) -> None:
    """Refuse a file before it is read into memory if it is larger than any file of this name may be.

    Raises
    ------
    ArtifactError
    """
    limit = MAX_FILE_BYTES.get(name)
    if limit is not None and found > limit:
        raise ArtifactError(
            f"{place}: expected at most {limit:,} bytes; found {found:,}, which were not read. "
            "Restore it from a backup, roll back to another version, or train a smaller model."
        )


def missing(place: Path | str) -> ArtifactError:
    """Return the error for a missing file at `place`."""
    return ArtifactError(
        f"{place}: expected a file; found none. Restore it from a backup, or roll back to another version."
    )


def digest_mismatch(place: Path | str, expected: str, found: str) -> ArtifactError:
    """Return the error for a file whose SHA-256 is not the expected one."""
    return _not_as_registered(place, f"SHA-256 {expected[:12]}…", f"{found[:12]}…")


def wrong_size(place: Path | str, digest: str | None, expected: int, found: int) -> ArtifactError:
    """Return the error for a file whose length is not the expected one."""
    known = "" if digest is None else f"SHA-256 {digest[:12]}… of "
    return _not_as_registered(place, f"{known}{expected:,} bytes", f"{found:,} bytes")


def _not_as_registered(place: Path | str, expected: str, found: str) -> ArtifactError:
    return ArtifactError(
        f"{place}: expected {expected}; found {found}. The file was changed after it was "
        "registered: restore it from a backup, or roll back to another version."
    )


def _not_plain(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path}: expected a regular file; found a link or a folder. Restore it from a backup, or roll back."
    )


@cache
def code_digest() -> str:
    """Return the SHA-256 over every Python file of ``include/`` except the declared models."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith("models/"):
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that affect an artifact."""
    versions = {name: version(name) for name in LIBRARIES}
    for name in OPTIONAL_LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
