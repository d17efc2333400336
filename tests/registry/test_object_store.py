"""Artifacts in S3, on a real server: the same guarantees as in a folder."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

from include.errors import ArtifactError, ArtifactStoreError, SettingsError, SignatureError
from include.records import Decision, Evaluation, ModelVersion
from include.registry import ArtifactStore, Manifest, open_artifact_store
from include.registry.artifacts import ObjectArtifactStore
from include.registry.artifacts.object_store import connect
from include.registry.artifacts.read_cache import ReadCache
from include.registry.audit import audit_version
from include.settings import REPOSITORY, Settings
from include.signing import Keyring, write_pair
from tests.registry.test_artifacts import manifest_of

UPLOADS = 5  # three files, the signature, the manifest
DAY = timedelta(days=1)


@pytest.fixture
def url(bucket: str) -> str:
    return f"{bucket}/some/prefix"


@pytest.fixture
def store(url: str, tmp_path: Path) -> ArtifactStore:
    return open_artifact_store(Settings(home=tmp_path, artifacts_url=url))


@pytest.fixture
def objects(bucket: str) -> Any:
    return fsspec.filesystem("s3", use_listings_cache=False)


def folder_of(path: Path, content: str = "x") -> Path:
    path.mkdir()
    for name in ("model.onnx", "model.joblib", "signature.json"):
        (path / name).write_text((name + content) * 10)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "work")


@pytest.fixture
def digest(store: ArtifactStore, source: Path) -> str:
    return store.put(source, manifest_of(source), 1)


def registered(digest: str) -> ModelVersion:
    return ModelVersion(
        model="parcels", version=1, artifact_digest=digest, spec_digest="s", data_digest="d", run_id="r",
        evaluation=Evaluation(model="parcels", rows=1, candidate={}, baseline={}),
        decision=Decision(accepted=True, gates=()), created_at=datetime.now(UTC), needs_approval=False,
        requested_by=None,
    )  # fmt: skip


# -- put, open, list, verify -----------------------------------------------------------------------


def test_what_was_put_is_opened_verified_and_listed(
    store: ArtifactStore, source: Path, digest: str, url: str, objects: Any
) -> None:
    artifact = store.open("parcels", 1, digest)
    assert (artifact.manifest.version, artifact.key_id) == (1, store.keys.signer().key_id)
    assert {name: artifact.read(name) for name in artifact.digests} == {
        file.name: file.read_bytes() for file in source.iterdir()
    }
    assert store.list("parcels") == (1,)
    assert store.list("letters") == ()
    store.put(source, manifest_of(source), 12)
    assert store.list("parcels") == (1, 12)
    assert all(check.passed for check in audit_version(store, registered(digest)))
    where = store.locate("parcels", 1, "model.onnx", artifact_digest=digest)
    assert where.startswith(f"{url}/parcels/1/")
    assert objects.cat_file(where) == (source / "model.onnx").read_bytes()


def test_a_file_of_several_pieces_comes_back_whole(store: ArtifactStore, source: Path) -> None:
    content = bytes(range(256)) * (20 << 12)  # 20 MiB: more than one piece
    (source / "model.onnx").write_bytes(content)
    artifact = store.open("parcels", 1, store.put(source, manifest_of(source), 1))
    assert artifact.read("model.onnx") == content


def test_a_version_that_the_ledger_never_came_to_know_is_replaced(
    store: ArtifactStore, digest: str, tmp_path: Path
) -> None:
    other = folder_of(tmp_path / "other", "y")
    second = store.put(other, manifest_of(other), 1)
    assert store.open("parcels", 1, second).read("model.onnx") == (other / "model.onnx").read_bytes()
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        store.open("parcels", 1, digest)
    assert store.remove_orphans(DAY, datetime.now(UTC)) == 0
    assert store.remove_orphans(DAY, datetime.now(UTC) + 2 * DAY) == 1
    assert store.remove_orphans(DAY, datetime.now(UTC) + 2 * DAY) == 0
    assert all(check.passed for check in audit_version(store, registered(second)))


def test_a_file_that_changed_before_it_was_put_is_refused_and_nothing_appears(
    store: ArtifactStore, source: Path
) -> None:
    manifest = manifest_of(source)
    (source / "model.onnx").write_bytes(b"of another length")
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        store.put(source, manifest, 1)
    assert store.list("parcels") == ()


def test_without_a_key_to_sign_with_nothing_is_put(url: str, tmp_path: Path, source: Path, objects: Any) -> None:
    _, public = write_pair(tmp_path / "pair")
    store = open_artifact_store(Settings(home=tmp_path, artifacts_url=url, trusted_keys=str(public)))
    with pytest.raises(SettingsError, match="SLUICE_SIGNING_KEY"):
        store.put(source, manifest_of(source), 1)
    assert objects.find(url) == []


# -- writers that die, and writers that race -------------------------------------------------------


def start_writer(url: str, tmp_path: Path, source: Path, uploads: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.registry.writer", url, str(tmp_path / "keys"), str(source), str(uploads)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_uploads(writer: subprocess.Popen[str], uploads: int) -> list[str]:
    assert writer.stdout is not None
    return [writer.stdout.readline().strip() for _ in range(uploads)]


@pytest.mark.parametrize("uploads", [1, UPLOADS - 2, UPLOADS - 1])
def test_a_writer_that_is_killed_leaves_the_version_absent(
    store: ArtifactStore, url: str, tmp_path: Path, source: Path, uploads: int, objects: Any
) -> None:
    with start_writer(url, tmp_path, source, uploads) as writer:
        assert all(wait_for_uploads(writer, uploads))
        writer.send_signal(signal.SIGKILL)
    assert len(objects.find(url)) == uploads
    assert store.list("parcels") == ()
    whole = store.put(source, manifest_of(source), 2)  # its digest differs from version 1's by the number alone
    with pytest.raises(ArtifactError, match="expected a file; found none"):
        store.open("parcels", 1, whole)
    later = datetime.now(UTC) + 2 * DAY
    assert (store.remove_orphans(DAY, datetime.now(UTC)), store.remove_orphans(DAY, later)) == (0, 1)
    assert all("/parcels/2/" in path for path in objects.find(url))
    store.open("parcels", 2, whole)


def test_after_a_kill_the_same_version_can_be_put(store: ArtifactStore, url: str, tmp_path: Path, source: Path) -> None:
    with start_writer(url, tmp_path, source, UPLOADS - 1) as writer:
        wait_for_uploads(writer, UPLOADS - 1)
        writer.kill()
    digest = store.put(source, manifest_of(source), 1)
    assert store.open("parcels", 1, digest).read("model.onnx") == (source / "model.onnx").read_bytes()


@pytest.mark.parametrize("before", ["nothing", "an orphan"])
def test_of_two_writers_of_one_version_exactly_one_wins_whole(
    store: ArtifactStore, url: str, tmp_path: Path, before: str
) -> None:
    if before == "an orphan":
        orphan = folder_of(tmp_path / "orphan", "o")
        store.put(orphan, manifest_of(orphan), 1)
    sources = [folder_of(tmp_path / name, name) for name in ("ann", "ben")]
    writers = [start_writer(url, tmp_path, each, UPLOADS - 1) for each in sources]
    for writer in writers:
        assert all(wait_for_uploads(writer, UPLOADS - 1))  # all is uploaded but the manifest
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdin = None
    said = [writer.communicate(timeout=60) for writer in writers]
    assert sorted(writer.returncode for writer in writers) == [0, 1], said
    winner = next(i for i, writer in enumerate(writers) if writer.returncode == 0)
    assert "another one also wrote it" in said[1 - winner][1]
    reader = ObjectArtifactStore(url, Keyring(tmp_path / "keys"))
    artifact = reader.open("parcels", 1, said[winner][0].split()[-1])
    assert {name: artifact.read(name) for name in artifact.digests} == {
        file.name: file.read_bytes() for file in sources[winner].iterdir()
    }


# -- servers and networks that are not perfect -----------------------------------------------------


class Odd:
    """A file system whose conditional writes meet a server that knows none, or ignores them, or a lost answer."""

    def __init__(self, files: Any, oddity: str) -> None:
        self._files, self._oddity = files, oddity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def pipe_file(self, path: str, content: bytes, **condition: Any) -> None:
        if condition and self._oddity == "not implemented":
            error = NotImplementedServer("A header you provided implies functionality that is not implemented")
            raise OSError(38, str(error)) from error
        if self._oddity == "ignored":
            condition = {}
        self._files.pipe_file(path, content, **condition)
        if condition and self._oddity == "sent twice":  # the answer was lost, and the request is sent again
            self._files.pipe_file(path, content, **condition)


class NotImplementedServer(Exception):  # noqa: N818  # stands for botocore's ClientError
    response = {"Error": {"Code": "NotImplemented"}}  # noqa: RUF012


@pytest.mark.parametrize("oddity", ["not implemented", "ignored", "sent twice"])
def test_a_version_is_put_whatever_the_server_makes_of_conditions(
    url: str, tmp_path: Path, source: Path, oddity: str
) -> None:
    store = ObjectArtifactStore(url, Keyring(tmp_path / "keys"), connect=lambda: Odd(connect(), oddity))
    digest = store.put(source, manifest_of(source), 1)
    other = folder_of(tmp_path / "other", "y")
    assert store.open("parcels", 1, digest)
    assert store.open("parcels", 1, store.put(other, manifest_of(other), 1))


def test_a_store_that_does_not_answer_is_no_fault_of_the_artifact(
    store: ArtifactStore, digest: str, tmp_path: Path, bucket: str
) -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> None:
                raise ConnectionError("nobody listens")

            return fail

    down = ObjectArtifactStore(bucket, store.keys, connect=Down)
    for call in (lambda: down.open("parcels", 1, digest), lambda: down.list("parcels")):
        with pytest.raises(ArtifactStoreError, match=r"expected the object store to answer; .*nobody listens"):
            call()


def test_a_bucket_that_is_not_there_is_said_to_be_missing(bucket: str, tmp_path: Path, source: Path) -> None:
    store = open_artifact_store(Settings(home=tmp_path, artifacts_url="s3://no-such-bucket-here/prefix"))
    with pytest.raises(ArtifactStoreError, match="expected a bucket; found none"):
        store.put(source, manifest_of(source), 1)


def test_without_s3fs_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SettingsError, match="Install s3fs"):
        open_artifact_store(Settings(home=tmp_path, artifacts_url="s3://bucket/prefix"))


# -- what is refused -------------------------------------------------------------------------------


def change(objects: Any, base: str, files: str) -> None:
    content = bytearray(objects.cat_file(f"{files}/model.onnx"))
    content[3] ^= 1
    objects.pipe_file(f"{files}/model.onnx", bytes(content))


def change_what_nobody_loads(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/model.joblib", b"cos\nsystem\n(S'true'\ntR.")


def lengthen(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/model.onnx", objects.cat_file(f"{files}/model.onnx") + bytes(5 << 20))


def truncate(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/model.onnx", objects.cat_file(f"{files}/model.onnx")[:-1])


def empty(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/signature.json", b"")


def add(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/deeper/extra.bin", b"x")


def remove(objects: Any, base: str, files: str) -> None:
    objects.rm_file(f"{files}/signature.json")


def rewrite_manifest(objects: Any, base: str, files: str) -> None:
    content = objects.cat_file(f"{base}/manifest.json")
    objects.pipe_file(f"{base}/manifest.json", content.replace(b"numpy", b"numpi"))


def swell_the_manifest(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{base}/manifest.json", objects.cat_file(f"{base}/manifest.json") + bytes(2 << 20))


def remove_manifest(objects: Any, base: str, files: str) -> None:
    objects.rm_file(f"{base}/manifest.json")


def remove_signature(objects: Any, base: str, files: str) -> None:
    objects.rm_file(f"{files}/manifest.sig")


def scribble_signature(objects: Any, base: str, files: str) -> None:
    objects.pipe_file(f"{files}/manifest.sig", b"{}")


TAMPERINGS = [change, change_what_nobody_loads, lengthen, truncate, empty, add, remove, rewrite_manifest]
TAMPERINGS += [swell_the_manifest, remove_manifest, remove_signature, scribble_signature]
BAD_SIGNATURES = {"remove_signature", "scribble_signature"}


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda each: each.__name__)
def test_a_tampered_artifact_is_refused(
    store: ArtifactStore, url: str, digest: str, objects: Any, tamper: Callable[[Any, str, str], None]
) -> None:
    base = f"{url}/parcels/1"
    tamper(objects, base, f"{base}/{digest}")
    wanted = SignatureError if tamper.__name__ in BAD_SIGNATURES else ArtifactError
    for call in (store.open, store.verify):
        with pytest.raises(wanted, match=r"[Rr]estore"):
            call("parcels", 1, digest)
    assert not all(check.passed for check in audit_version(store, registered(digest)))


def test_another_version_s_whole_artifact_is_refused(
    store: ArtifactStore, source: Path, url: str, digest: str, objects: Any
) -> None:
    second = store.put(source, manifest_of(source), 2)
    for path in objects.find(f"{url}/parcels/2"):
        objects.pipe_file(path.replace("/parcels/2/", "/parcels/1/"), objects.cat_file(path))
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        store.open("parcels", 1, digest)
    with pytest.raises(ArtifactError, match=r"expected the artifact of 'parcels' version 1; found .* version 2"):
        store.open("parcels", 1, second)


# -- what this host has read before ----------------------------------------------------------------


class Counted:
    """A file system that remembers which objects were downloaded."""

    def __init__(self, files: Any) -> None:
        self._files = files
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def cat_file(self, path: str, **more: Any) -> bytes:
        self.read.append(path.rsplit("/", 1)[1])
        content: bytes = self._files.cat_file(path, **more)
        return content


@pytest.fixture
def counted(bucket: str) -> Counted:
    return Counted(connect())


@pytest.fixture
def reader(counted: Counted, url: str, store: ArtifactStore, tmp_path: Path) -> ObjectArtifactStore:
    return ObjectArtifactStore(url, store.keys, ReadCache(tmp_path / "host"), lambda: counted)


def test_a_second_reader_of_this_host_downloads_no_file_again(
    reader: ObjectArtifactStore, counted: Counted, digest: str, source: Path
) -> None:
    reader.open("parcels", 1, digest)
    assert sorted(counted.read) == ["manifest.json", "manifest.sig", "model.joblib", "model.onnx", "signature.json"]
    counted.read.clear()
    artifact = reader.open("parcels", 1, digest)
    assert artifact.read("model.joblib") == (source / "model.joblib").read_bytes()
    assert sorted(counted.read) == ["manifest.json", "manifest.sig"]


def test_a_cached_file_that_was_changed_is_not_believed(
    reader: ObjectArtifactStore, counted: Counted, digest: str, source: Path, tmp_path: Path
) -> None:
    reader.open("parcels", 1, digest)
    for file in (tmp_path / "host").iterdir():
        file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    counted.read.clear()
    artifact = reader.open("parcels", 1, digest)
    assert {"model.onnx", "model.joblib", "signature.json"} <= set(counted.read)
    assert artifact.read("model.onnx") == (source / "model.onnx").read_bytes()


def test_a_cache_does_not_hide_from_auditors_that_the_store_was_tampered_with(
    reader: ObjectArtifactStore, digest: str, objects: Any, url: str
) -> None:
    reader.open("parcels", 1, digest)
    change(objects, "", f"{url}/parcels/1/{digest}")
    failed = {check.name for check in audit_version(reader, registered(digest)) if not check.passed}
    assert failed == {"file model.onnx", "artifact"}


def test_what_was_tampered_with_is_not_cached(
    reader: ObjectArtifactStore, digest: str, objects: Any, url: str, tmp_path: Path
) -> None:
    change(objects, "", f"{url}/parcels/1/{digest}")
    with pytest.raises(ArtifactError):
        reader.open("parcels", 1, digest)
    good = store_digests(reader, digest)
    assert {file.name for file in (tmp_path / "host").iterdir()} < good


def store_digests(reader: ObjectArtifactStore, digest: str) -> set[str]:
    return set(Manifest.model_validate_json(reader.files("parcels", 1, digest).read("manifest.json")).files.values())


def test_a_cache_that_cannot_be_written_is_done_without(
    counted: Counted, url: str, store: ArtifactStore, digest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("where the cache's folder should be")
    reader = ObjectArtifactStore(url, store.keys, ReadCache(tmp_path / "a file"), lambda: counted)
    for _ in range(2):
        assert reader.open("parcels", 1, digest)
    assert [each for each in caplog.messages if "artifacts are not cached" in each] == [
        f"artifacts are not cached in {tmp_path / 'a file'}, each is read from the store: File exists"
    ]


def test_a_full_cache_gives_up_what_was_not_read_for_the_longest_time(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path, max_bytes=250)
    contents = [bytes([number]) * 100 for number in range(3)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    for number in (0, 1):
        with cache.filling(digests[number]) as filling:
            filling.write(contents[number])
        os.utime(tmp_path / digests[number], (number, number))
    assert cache.read(digests[0], size=100, keep=True) == contents[0]  # so it is the last one read
    with cache.filling(digests[2]) as filling:
        filling.write(contents[2])
    found = [cache.read(each, size=100, keep=True) for each in digests]
    assert found == [contents[0], None, contents[2]]


def test_a_deleted_model_leaves_no_object_and_another_model_all(
    store: ArtifactStore, url: str, objects: Any, source: Path
) -> None:
    for model in ("parcels", "parcels_two"):
        store.put(source, manifest_of(source, model), 1)
    objects.pipe_file(f"{url}/parcels/2/{'0' * 64}/model.onnx", b"an upload that was killed")
    kept = objects.find(f"{url}/parcels_two")
    assert store.remove("parcels") == 1
    assert store.remove("parcels") == 0
    assert objects.find(url) == kept
    assert len(kept) == UPLOADS
