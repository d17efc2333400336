"""What an artifact was made of and with: digests of files and of the code, versions of the libraries."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from include.errors import ArtifactError

LIBRARIES = ("numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "skl2onnx")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class VerifiedFiles:
    """Files of a folder that are handed out only as the bytes of known digests.

    Parameters
    ----------
    folder : Path
    digests : mapping of str to str
        SHA-256 in hex of each file that there is.
    kept : mapping of str to bytes, optional
        Contents that were read and checked already.
    """

    def __init__(self, folder: Path, digests: Mapping[str, str], kept: Mapping[str, bytes] | None = None) -> None:
        self.folder = folder
        self.digests = digests
        self._kept = kept or {}

    def read(self, name: str) -> bytes:
        """Return the content of a file, which is what was checked and not what lies there by now.

        Raises
        ------
        ArtifactError
            When there is no such file, or it is another one than its digest says.
        """
        if name in self._kept:
            return self._kept[name]
        if name not in self.digests:
            raise ArtifactError(
                f"{self.folder}: expected {name}; found {', '.join(sorted(self.digests)) or 'nothing'}. "
                "It is of another version of Sluice: train the model again."
            )
        content, found = read_regular_file(self.folder / name, keep=True)
        if found != self.digests[name]:
            raise digest_mismatch(self.folder / name, self.digests[name], found)
        return content


def read_regular_file(path: Path, *, keep: bool) -> tuple[bytes, str]:
    """Read a plain file once, and return its content, or nothing if it is not to be kept, with its SHA-256 in hex.

    Links are refused, since they would let a file outside the folder be swapped after the check.

    Raises
    ------
    ArtifactError
        When it is missing, or a link, a folder or another thing that is no plain file.
    """
    try:
        # Non-blocking: opening a pipe would wait for whoever writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path}: expected a file; found none. Restore it from a backup, or roll back to another version."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _not_plain(path) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_plain(path)
        if keep:
            content = file.read()
            return content, hashlib.sha256(content).hexdigest()
        return b"", hashlib.file_digest(file, "sha256").hexdigest()


def digest_mismatch(path: Path, expected: str, found: str) -> ArtifactError:
    """Return the error that a file is not what it was."""
    return ArtifactError(
        f"{path}: expected SHA-256 {expected[:12]}…; found {found[:12]}…. The file was changed after it was "
        "registered: restore it from a backup, or roll back to another version."
    )


def _not_plain(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path}: expected a plain file; found a link or a folder. Restore it from a backup, or roll back."
    )


@cache
def code_digest() -> str:
    """Return the SHA-256 over every Python file of ``include/`` but the declared models, which have their own."""
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
    """Return the versions of the libraries that shape an artifact."""
    return {name: version(name) for name in LIBRARIES}
