"""Artifacts in an object store such as S3, by fsspec.

The files of a version are uploaded first, to ``<model>/<version>/<artifact digest>/``: every writer to this prefix
writes the same bytes. ``<model>/<version>/manifest.json`` is written last; without it, the version is absent. This
write is conditional on what was there at the beginning, so that exactly one of several writers succeeds.

Sources
-------
Conditional writes of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from include.errors import ArtifactError, ArtifactStoreError, SettingsError, SluiceError
from include.provenance import FileSource, check_memory, digest_mismatch, missing, read_regular_file, wrong_size
from include.registry.artifacts.manifest import MANIFEST, SIGNATURE, Manifest
from include.registry.artifacts.read_cache import ReadCache
from include.registry.artifacts.verification import VerifiedArtifact, verify_artifact
from include.signing import Keyring

MAX_UNSIZED_BYTES = 1 << 20
"""Maximum size of a manifest or a signature; no record of their sizes exists."""
PIECE_BYTES = 16 << 20
CONNECT_SECONDS, READ_SECONDS = 5, 60

# Error codes of a conditional write that failed, and of a server that does not support conditional writes.
_LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_NO_CONDITIONS = ("NotImplemented", "501")


def require_s3fs(url: str) -> None:
    """Check that the package for object stores is installed.

    Raises
    ------
    SettingsError
        When it is not installed.
    """
    if find_spec("s3fs") is None:
        raise SettingsError(
            f"SLUICE_ARTIFACTS_URL: expected the package s3fs, to read {url}; found none. "
            "Install s3fs, or unset the variable."
        )


def connect() -> Any:
    """Return fsspec's file system for S3; credentials, region and AWS_ENDPOINT_URL come from the usual variables.

    fsspec keeps one for each thread of each process, so calling this again costs nothing.
    """
    import fsspec

    return fsspec.filesystem(
        "s3",
        use_listings_cache=False,  # another host may have written in the meantime
        config_kwargs={"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS},
    )


class ObjectArtifactStore:
    """Artifacts under a prefix of a bucket.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    keys : Keyring
        The key that signs, and the trusted keys.
    cache : ReadCache, optional
        The files that this host has read before.
    connect : callable
        Returns fsspec's file system.
    """

    def __init__(
        self, url: str, keys: Keyring, cache: ReadCache | None = None, connect: Callable[[], Any] = connect
    ) -> None:
        self.keys = keys
        self._connect = connect
        self._url = url.rstrip("/")
        self._cache = cache

    def put(self, source: Path, manifest: Manifest, version: int) -> str:
        """Store the files that `manifest` names, all of them or none; see `ArtifactStore.put`."""
        signer = self.keys.signer()
        sizes = {name: (source / name).stat().st_size for name in manifest.files}
        content = manifest.model_copy(update={"version": version, "sizes": sizes}).to_json()
        digest = hashlib.sha256(content).hexdigest()
        place = _Objects(self._connect(), self.locate(manifest.model, version), digest)
        before = place.tag()
        for name, expected in manifest.files.items():
            place.write(name, read_regular_file(source / name, digest=expected, size=sizes[name]))
        place.write(SIGNATURE, signer.sign(content))
        place.commit(content, before)
        return digest

    def open(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Return the artifact after checking every byte of it; see `ArtifactStore.open`."""
        place = _Objects(self._connect(), self.locate(model, version), artifact_digest, self._cache)
        return verify_artifact(place, model, version, artifact_digest, self.keys)

    def list(self, model: str) -> tuple[int, ...]:
        """Return the complete versions of `model`, in ascending order."""
        with _answers(self._url):
            found = self._connect().glob(f"{self._url}/{model}/*/{MANIFEST}")
        names = (path.split("/")[-2] for path in found)
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    def verify(self, model: str, version: int, artifact_digest: str) -> VerifiedArtifact:
        """Do what `open` does, without the cache; see `ArtifactStore.verify`."""
        files = self.files(model, version, artifact_digest)
        return verify_artifact(files, model, version, artifact_digest, self.keys)

    def files(self, model: str, version: int, artifact_digest: str) -> FileSource:
        """Return the objects of an artifact; see `ArtifactStore.files`."""
        return _Objects(self._connect(), self.locate(model, version), artifact_digest)

    def locate(self, model: str, version: int, name: str = "", *, artifact_digest: str = "*") -> str:
        """Return the URL of an artifact or of one file of it."""
        return f"{self._url}/{model}/{version}" + (f"/{artifact_digest}/{name}" if name else "")

    def remove(self, model: str) -> int:
        """Remove the objects of a model; see `ArtifactStore.remove`."""
        files = self._connect()
        with _answers(self._url):
            found = files.find(f"{self._url}/{model}/")
            manifests = [path for path in found if re.search(rf"/\d+/{re.escape(MANIFEST)}$", path)]
            # The manifests first: a version without one is absent, whatever else is left of it.
            for paths in (manifests, sorted(set(found) - set(manifests))):
                if paths:
                    files.rm(paths)
        return len(manifests)

    def remove_orphans(self, keep: timedelta, now: datetime) -> int:
        """Remove the objects of uploads that have no manifest; see `ArtifactStore.remove_orphans`."""
        files = self._connect()
        with _answers(self._url):
            found = files.find(self._url, detail=True)
        removed = 0
        for version, digest, objects in _suspects(found, files._strip_protocol(self._url)):  # noqa: SLF001  # no public name
            old = all(now - each["LastModified"] > keep for each in objects)
            if old and not _Objects(files, f"{self._url}/{version}", digest).committed():
                with _answers(self._url):
                    files.rm([each["name"] for each in objects])
                removed += 1
        return removed


def _suspects(found: dict[str, Any], root: str) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield each upload (version, digest, objects) that may be an orphan: not the only upload of a complete version."""
    uploads: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for path, entry in found.items():
        match = re.fullmatch(r"([^/]+/\d+)/([0-9a-f]{64})/.+", path.removeprefix(f"{root}/"))
        if match:
            uploads[match[1]][match[2]].append(entry)
    for version, digests in uploads.items():
        if len(digests) > 1 or f"{root}/{version}/{MANIFEST}" not in found:
            yield from ((version, digest, objects) for digest, objects in digests.items())


class _Objects:
    """The objects of one artifact: reads them as a `FileSource`, and writes them."""

    def __init__(self, files: Any, location: str, digest: str, cache: ReadCache | None = None) -> None:
        self.location = location
        self._files = files
        self._digest = digest
        self._cache = cache

    # -- reading ----------------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Return the names of all objects that the artifact consists of."""
        folder = f"{self.location}/{self._digest}/"
        with _answers(self.location):
            found = self._files.find(folder)
        start = self._files._strip_protocol(folder).rstrip("/") + "/"  # noqa: SLF001  # no public name
        return {path.removeprefix(start) for path in found} | {MANIFEST}

    def read(self, name: str, *, digest: str | None = None, size: int | None = None, keep: bool = True) -> bytes:
        """Read an object and check it; see `FileSource.read`."""
        if self._cache is None or digest is None or size is None:  # a manifest or signature: size unknown
            return self._download(name, digest, size, keep)
        content = self._cache.read(digest, size=size, keep=keep)
        if content is None:
            with self._cache.filling(digest) as filling:
                content = self._download(name, digest, size, keep, filling.write)
        return content

    def _download(self, name: str, digest: str | None, size: int | None, keep: bool, also: Any = None) -> bytes:
        path = self._path(name)
        found = hashlib.sha256()
        kept = []
        for piece in self._pieces(path, digest, size, name if keep else ""):
            found.update(piece)
            if keep:
                kept.append(piece)
            if also is not None:
                also(piece)
        if digest is not None and found.hexdigest() != digest:
            raise digest_mismatch(path, digest, found.hexdigest())
        return b"".join(kept)

    def _pieces(self, path: str, digest: str | None, size: int | None, kept: str) -> Iterator[bytes]:
        """Read an object of the expected length and no more bytes; a large one in pieces. `kept`: its name, if kept."""
        length = self._length(path)
        if size is None and length > MAX_UNSIZED_BYTES:
            raise wrong_size(path, digest, MAX_UNSIZED_BYTES, length)
        if size is not None and length != size:
            raise wrong_size(path, digest, size, length)
        check_memory(path, kept, length)
        for start in range(0, length, PIECE_BYTES):
            with _answers(path):
                piece: bytes = self._files.cat_file(path, start=start, end=min(start + PIECE_BYTES, length))
            yield piece

    def _length(self, path: str) -> int:
        with _answers(path):
            return int(self._files.info(path)["size"])

    # -- writing ----------------------------------------------------------------------------------

    def write(self, name: str, content: bytes) -> None:
        """Upload a file."""
        with _answers(self.location):
            self._files.pipe_file(self._path(name), content)

    def tag(self) -> str | None:
        """Return the ETag of the manifest in the store; None when there is none."""
        try:
            with _answers(self.location):
                return str(self._files.info(self._path(MANIFEST))["ETag"])
        except ArtifactError:
            return None

    def committed(self) -> bool:
        """Whether the version is complete and consists of these objects."""
        try:
            self.read(MANIFEST, digest=self._digest)
        except ArtifactError:
            return False
        return True

    def commit(self, manifest: bytes, before: str | None) -> None:
        """Write the manifest unless another writer did since `tag` returned `before`.

        The final content decides: a response may be lost and the request sent again, and some servers ignore
        conditions.

        Raises
        ------
        ArtifactError
            When another writer was first.
        """
        path = self._path(MANIFEST)
        condition = {"IfNoneMatch": "*"} if before is None else {"IfMatch": before}
        with _answers(self.location):
            try:
                self._files.pipe_file(path, manifest, **condition)
            except OSError as error:
                code = _code(error)
                if code in _NO_CONDITIONS and self.tag() == before:
                    self._files.pipe_file(path, manifest)
                elif code not in (*_LOST, *_NO_CONDITIONS):
                    raise
        if not self.committed():
            raise ArtifactError(
                f"{self.location}: expected to be the only writer of this version; found that "
                "another one also wrote it. Run the task again: it takes the next version."
            )

    def _path(self, name: str) -> str:
        return f"{self.location}/{name}" if name == MANIFEST else f"{self.location}/{self._digest}/{name}"


def _code(error: BaseException) -> str:
    """Return the server's error code, which fsspec keeps in the cause."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def _answers(place: str) -> Iterator[None]:
    """Translate every error of the object store or of its client."""
    try:
        yield
    except SluiceError:
        raise
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise ArtifactStoreError(
                f"{place}: expected a bucket; found none. Create it, or correct the URL."
            ) from error
        raise missing(place) from error
    except Exception as error:  # the errors of fsspec, botocore and aiohttp have no common base class
        raise ArtifactStoreError(
            f"{place}: expected the object store to answer; {type(error).__name__}: {error}. Check that it runs, "
            "AWS_ENDPOINT_URL, and the credentials. Airflow retries the task automatically."
        ) from error
