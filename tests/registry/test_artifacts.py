"""Artifacts: complete or absent, and refused when a byte is not what was registered and signed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.errors import ArtifactError, SettingsError, SignatureError
from include.provenance import VerifiedFiles
from include.registry import ArtifactStore, LocalArtifactStore, Manifest, file_digest, open_artifact_store
from include.settings import Settings, load_settings
from include.signing import Keyring, write_pair


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return LocalArtifactStore(tmp_path / "artifacts", Keyring(tmp_path / "keys"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("model.onnx", "model.joblib", "signature.json"):
        (folder / name).write_bytes(name.encode() * 10)
    return folder


@pytest.fixture
def digest(store: ArtifactStore, source: Path) -> str:
    return store.put(source, manifest_of(source), 1)


def manifest_of(folder: Path, model: str = "parcels") -> Manifest:
    return Manifest(
        model=model,
        files={path.name: file_digest(path) for path in folder.iterdir()},
        spec_digest="s", data_digest="d", code_digest="c", libraries={"numpy": "2"},
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip


def test_what_was_saved_is_verified_and_says_who_signed_it(store: ArtifactStore, digest: str) -> None:
    artifact = store.open("parcels", 1, digest)
    assert {path.name for path in Path(artifact.location).iterdir()} == {
        "manifest.json", "manifest.sig", "model.joblib", "model.onnx", "signature.json"
    }  # fmt: skip
    assert artifact.key_id == store.keys.signer().key_id
    assert (artifact.manifest.format_version, artifact.manifest.version) == (1, 1)


# -- what is refused -------------------------------------------------------------------------------


def change(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[3] ^= 1
    (folder / "model.onnx").write_bytes(content)


def change_what_nobody_loads(folder: Path) -> None:
    (folder / "model.joblib").write_bytes(b"cos\nsystem\n(S'true'\ntR.")


def truncate(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])


def add(folder: Path) -> None:
    (folder / "extra.bin").write_bytes(b"x")


def remove(folder: Path) -> None:
    (folder / "signature.json").unlink()


def swap(folder: Path) -> None:
    one, two = folder / "model.onnx", folder / "signature.json"
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def link(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / "model.onnx").rename(elsewhere)
    (folder / "model.onnx").symlink_to(elsewhere)


def link_the_manifest(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / "manifest.json").rename(elsewhere)
    (folder / "manifest.json").symlink_to(elsewhere)


def link_the_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def put_a_pipe(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")


def rewrite_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace("numpy", "numpi"))


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def remove_signature(folder: Path) -> None:
    (folder / "manifest.sig").unlink()


def scribble_signature(folder: Path) -> None:
    (folder / "manifest.sig").write_text("{}")


def unknown_signature_format(folder: Path) -> None:
    text = (folder / "manifest.sig").read_text()
    (folder / "manifest.sig").write_text(text.replace('"format_version": 1', '"format_version": 9'))


def sign_by_another_key(folder: Path) -> None:
    stranger = Keyring(folder.parent / "stranger").signer()
    (folder / "manifest.sig").write_bytes(stranger.sign((folder / "manifest.json").read_bytes()))


def pose_as_the_trusted_key(folder: Path) -> None:
    trusted = (folder / "manifest.sig").read_text().split('"key_id": "')[1][:16]
    stranger = Keyring(folder.parent / "stranger").signer()
    forged = stranger.sign((folder / "manifest.json").read_bytes()).decode()
    (folder / "manifest.sig").write_text(forged.replace(stranger.key_id, trusted))


FILES = [change, change_what_nobody_loads, truncate, add, remove, swap, link, link_the_manifest, link_the_folder]
FILES += [put_a_pipe, rewrite_manifest, remove_manifest]
SIGNATURES = [remove_signature, scribble_signature, unknown_signature_format, sign_by_another_key]
SIGNATURES += [pose_as_the_trusted_key]


@pytest.mark.parametrize("tamper", FILES, ids=lambda each: each.__name__)
def test_a_tampered_artifact_is_refused(store: ArtifactStore, digest: str, tamper) -> None:
    tamper(Path(store.locate("parcels", 1)))
    with pytest.raises(ArtifactError, match=r"[Rr]estore"):
        store.open("parcels", 1, digest)


@pytest.mark.parametrize("tamper", SIGNATURES, ids=lambda each: each.__name__)
def test_an_artifact_without_a_trusted_signature_is_refused(store: ArtifactStore, digest: str, tamper) -> None:
    tamper(Path(store.locate("parcels", 1)))
    with pytest.raises(SignatureError, match=r"[Rr]estore"):
        store.open("parcels", 1, digest)


def test_another_version_s_whole_folder_is_refused(store: ArtifactStore, source: Path, digest: str) -> None:
    second = store.put(source, manifest_of(source), 2)
    shutil.rmtree(Path(store.locate("parcels", 1)))
    shutil.copytree(Path(store.locate("parcels", 2)), Path(store.locate("parcels", 1)))
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        store.open("parcels", 1, digest)
    # Even if the ledger's digest was changed with it: the number was signed.
    with pytest.raises(ArtifactError, match=r"expected the artifact of 'parcels' version 1; found .* version 2"):
        store.open("parcels", 1, second)


def test_another_model_s_whole_folder_is_refused(store: ArtifactStore, source: Path) -> None:
    letters = store.put(source, manifest_of(source, "letters"), 1)
    shutil.copytree(Path(store.locate("letters", 1)), Path(store.locate("parcels", 1)))
    with pytest.raises(ArtifactError, match="found that of 'letters'"):
        store.open("parcels", 1, letters)


def test_a_manifest_of_an_unknown_format_is_refused(store: ArtifactStore, digest: str) -> None:
    folder = Path(store.locate("parcels", 1))
    content = (folder / "manifest.json").read_bytes().replace(b'"format_version": 1', b'"format_version": 2')
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sig").write_bytes(store.keys.signer().sign(content))
    with pytest.raises(ArtifactError, match="expected a manifest of format 1"):
        store.open("parcels", 1, hashlib.sha256(content).hexdigest())


# -- between check and use -------------------------------------------------------------------------


def test_what_is_read_is_what_was_checked_even_if_the_file_changes_in_between(
    store: ArtifactStore, digest: str, source: Path
) -> None:
    artifact = store.open("parcels", 1, digest)
    for name in ("model.onnx", "model.joblib"):
        (Path(artifact.location) / name).write_bytes(b"swapped after the check")
    assert artifact.read("model.onnx") == (source / "model.onnx").read_bytes()
    with pytest.raises(ArtifactError, match=r"model\.joblib: expected SHA-256"):
        artifact.read("model.joblib")


def test_a_file_that_the_manifest_does_not_name_cannot_be_read(store: ArtifactStore, digest: str) -> None:
    artifact = store.open("parcels", 1, digest)
    for name in ("manifest.sig", "../1/model.onnx", "golden.json"):
        with pytest.raises(ArtifactError, match=r"found model\.joblib, model\.onnx, signature\.json"):
            artifact.read(name)


# -- saving ----------------------------------------------------------------------------------------


def test_a_file_that_changed_while_it_was_saved_is_refused_and_nothing_appears(
    store: ArtifactStore, source: Path
) -> None:
    manifest = manifest_of(source)
    change(source)
    with pytest.raises(ArtifactError):
        store.put(source, manifest, 1)
    assert not Path(store.locate("parcels", 1)).exists()


def test_without_a_key_to_sign_with_nothing_is_saved(tmp_path: Path, source: Path) -> None:
    _, public = write_pair(tmp_path / "pair")
    store = LocalArtifactStore(tmp_path / "artifacts", Keyring(tmp_path / "keys", trusted_keys=str(public)))
    with pytest.raises(SettingsError, match="SLUICE_SIGNING_KEY"):
        store.put(source, manifest_of(source), 1)
    assert not (tmp_path / "artifacts").exists()


def test_a_folder_that_the_ledger_never_came_to_know_is_replaced(store: ArtifactStore, source: Path) -> None:
    orphan = Path(store.locate("parcels", 1))
    orphan.mkdir(parents=True)
    (orphan / "left behind").write_text("by a kill")
    assert store.open("parcels", 1, store.put(source, manifest_of(source), 1)).location == str(orphan)


def test_only_whole_versions_are_listed_and_what_a_killed_writer_left_is_removed(
    store: ArtifactStore, source: Path
) -> None:
    for version in (10, 2):
        store.put(source, manifest_of(source), version)
    left = Path(store.locate("parcels", 3)).with_name(".3.4711.tmp")
    shutil.copytree(Path(store.locate("parcels", 2)), left)
    assert store.list("parcels") == (2, 10)
    assert store.list("letters") == ()
    day, now = timedelta(days=1), datetime.now(UTC)
    assert store.remove_orphans(day, now) == 0
    assert store.remove_orphans(day, now + 2 * day) == 1
    assert not left.exists()
    assert store.list("parcels") == (2, 10)


def test_a_folder_is_named_by_the_url_too(tmp_path: Path, source: Path) -> None:
    elsewhere = Settings(home=tmp_path / "home", artifacts_url=f"file://{tmp_path}/a%20folder")
    for settings, root in ((elsewhere, tmp_path / "a folder"), (Settings(home=tmp_path / "home"), tmp_path / "home")):
        store = open_artifact_store(settings)
        digest = store.put(source, manifest_of(source), 1)
        assert store.open("parcels", 1, digest).location.startswith(str(root))


@pytest.mark.parametrize("url", ["s3://", "http://somewhere/bucket", "file://relative", "/a/folder"])
def test_a_url_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLUICE_ARTIFACTS_URL", url)
    with pytest.raises(SettingsError, match="SLUICE_ARTIFACTS_URL"):
        load_settings()


# -- a candidate's folder --------------------------------------------------------------------------


def test_a_candidate_s_files_are_read_by_their_digests(source: Path) -> None:
    files = VerifiedFiles(source, manifest_of(source).files)
    assert files.read("model.onnx") == b"model.onnx" * 10
    change(source)
    with pytest.raises(ArtifactError, match="expected SHA-256"):
        files.read("model.onnx")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "golden.json", "signature.json"])
def test_a_huge_file_is_refused_before_it_is_read(store: ArtifactStore, digest: str, name: str) -> None:
    folder = Path(store.locate("parcels", 1))
    with (folder / name).open("ab") as file:
        file.truncate(3_000_000_000)  # sparse: it takes no space
    with pytest.raises(ArtifactError) as caught:
        store.open("parcels", 1, digest)
    assert len(str(caught.value).splitlines()) == 1
    if name.startswith("manifest"):
        assert "expected at most 1,048,576 bytes; found 3,000,000,000, which were not read" in str(caught.value)


def test_a_golden_file_that_was_huge_when_it_was_signed_is_refused_before_it_is_read(
    store: ArtifactStore, source: Path
) -> None:
    with (source / "golden.json").open("wb") as file:
        file.truncate(65 << 20)
    digest = store.put(source, manifest_of(source), 1)
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="expected at most 67,108,864 bytes; found 68,157,440"):
        store.open("parcels", 1, digest)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
