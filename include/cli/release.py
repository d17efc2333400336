"""The version of Sluice."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version

from include.settings import REPOSITORY


def release() -> str:
    """Return the version of the installed package; in an image, where it is not installed, that of pyproject.toml."""
    try:
        return version("sluice")
    except PackageNotFoundError:
        file = REPOSITORY / "pyproject.toml"
        if not file.is_file():
            return "of an unknown version"
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
