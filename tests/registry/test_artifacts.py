"""Artifacts: complete or absent, and refused when a byte is not what was registered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.errors import ArtifactError
from include.registry import ArtifactStore, Manifest, file_digest


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("model.onnx", "signature.json"):
        (folder / name).write_bytes(name.encode() * 10)
    return folder


@pytest.fixture
def digest(store: ArtifactStore, source: Path) -> str:
    return store.save(source, manifest_of(source), 1)


def manifest_of(folder: Path) -> Manifest:
    return Manifest(
        model="parcels",
        files={path.name: file_digest(path) for path in folder.iterdir()},
        spec_digest="s", data_digest="d", code_digest="c", libraries={"numpy": "2"},
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip


def test_what_was_saved_is_verified(store: ArtifactStore, digest: str) -> None:
    folder = store.verified("parcels", 1, digest)
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "model.onnx", "signature.json"}


def change(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[3] ^= 1
    (folder / "model.onnx").write_bytes(content)


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


def rewrite_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace("numpy", "numpi"))


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    "tamper", [change, truncate, add, remove, swap, link, rewrite_manifest, remove_manifest], ids=lambda f: f.__name__
)
def test_a_tampered_artifact_is_refused(store: ArtifactStore, digest: str, tamper) -> None:
    tamper(store.folder("parcels", 1))
    with pytest.raises(ArtifactError, match=r"[Rr]estore"):
        store.verified("parcels", 1, digest)


def test_a_file_that_changed_while_it_was_saved_is_refused_and_nothing_appears(
    store: ArtifactStore, source: Path
) -> None:
    manifest = manifest_of(source)
    change(source)
    with pytest.raises(ArtifactError):
        store.save(source, manifest, 1)
    assert not store.folder("parcels", 1).exists()


def test_a_folder_that_the_ledger_never_came_to_know_is_replaced(store: ArtifactStore, source: Path) -> None:
    orphan = store.folder("parcels", 1)
    orphan.mkdir(parents=True)
    (orphan / "left behind").write_text("by a kill")
    assert store.verified("parcels", 1, store.save(source, manifest_of(source), 1)) == orphan
