"""What an artifact was made of and with: digests of files and of the code, versions of the libraries."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "skl2onnx")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
