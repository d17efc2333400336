"""A process that puts a version into an object store, tells of each upload, and waits where it is told to.

    python writer.py URL KEYS SOURCE UPLOADS

After that many uploads it waits until its standard input is closed. In the end it prints the artifact's digest.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from include.errors import ArtifactError
from include.registry.artifacts.object_store import ObjectArtifactStore, connect
from include.signing import Keyring
from tests.registry.test_artifacts import manifest_of


class Watched:
    """A file system whose uploads are counted."""

    def __init__(self, files: Any, stop_after: int) -> None:
        self._files, self._left = files, stop_after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def pipe_file(self, path: str, content: bytes, **more: Any) -> None:
        self._files.pipe_file(path, content, **more)
        print(path, flush=True)
        self._left -= 1
        if self._left == 0:
            sys.stdin.read()


url, keys, source, uploads = sys.argv[1:]
watched = Watched(connect(), int(uploads))
store = ObjectArtifactStore(url, Keyring(Path(keys)), connect=lambda: watched)
try:
    print(store.put(Path(source), manifest_of(Path(source)), 1), flush=True)
except ArtifactError as error:
    sys.exit(str(error))
