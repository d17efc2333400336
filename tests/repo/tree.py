"""The files of the tree: what is committed, or about to be; nothing that was made or downloaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

from include.settings import REPOSITORY


def tracked(*patterns: str) -> list[Path]:
    """Return the files that match git's `patterns`, or all."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z", "--", *patterns]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]
