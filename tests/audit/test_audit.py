"""``sluice verify`` names what is wrong and goes on; ``sluice explain-promotion`` tells the whole story."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from include import pipeline
from include.cli import main
from include.errors import UnknownPromotionError, UnknownVersionError
from include.provenance import file_digest
from include.records import AuditCheck
from include.registry import Manifest
from include.signing import Keyring
from tests.audit.conftest import Life


def checks(life: Life, version: int = 1) -> dict[str, AuditCheck]:
    return {check.name: check for check in pipeline.verify_version(life.spec.name, version, life.resources)}


def failed(life: Life, version: int = 1) -> set[str]:
    return {name for name, check in checks(life, version).items() if not check.passed}


def test_a_whole_version_passes_every_check(life: Life) -> None:
    found = checks(life)
    assert failed(life) == set()
    assert set(found) == {
        "ledger", "manifest", "signature", "artifact", "golden rows", "evidence", "query", "promotion 1", "promotion 3",
        *(f"file {name}" for name in (
            "card.html", "evidence.json", "features.sql", "golden.json", "model.joblib", "model.onnx", "signature.json"
        )),
    }  # fmt: skip
    assert life.resources.artifacts.keys.signer().key_id in found["signature"].sentence


def test_a_changed_file_is_named_and_the_rest_is_still_checked(life: Life) -> None:
    with life.tampered(1) as folder:
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"x")
        assert failed(life) == {"file model.onnx", "artifact", "golden rows", "evidence", "query"}
    with life.tampered(1) as folder:
        (folder / "extra").write_text("x")
        assert failed(life) == {"artifact", "golden rows", "evidence", "query"}
    with life.tampered(1) as folder:
        (folder / "manifest.sig").unlink()
        assert failed(life) == {"signature", "artifact", "golden rows", "evidence", "query"}
    with life.tampered(1) as folder:
        shutil.rmtree(folder)
        shutil.copytree(Path(life.resources.artifacts.locate(life.spec.name, 2)), folder)
        assert {"manifest", "artifact"} <= failed(life)
    with life.tampered(1) as folder:
        shutil.rmtree(folder)
        folder.mkdir()
        assert failed(life) == {"manifest", "signature", "artifact", "golden rows", "evidence", "query"}


def test_a_version_that_was_never_registered_is_an_error(life: Life) -> None:
    with pytest.raises(UnknownVersionError, match=r"existing versions: 1, 2\."):
        checks(life, 9)


def test_evidence_that_was_changed_and_signed_anew_does_not_match_the_ledger(life: Life) -> None:
    """Whoever has the key can sign anything; the ledger, which is append-only, still tells."""
    store = life.resources.artifacts
    with life.tampered(1) as folder:
        plain = json.loads((folder / "evidence.json").read_text())
        plain["evaluation"]["candidate"]["roc_auc"] = 0.99
        (folder / "evidence.json").write_text(json.dumps(plain))
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        files = dict(manifest.files) | {"evidence.json": file_digest(folder / "evidence.json")}
        sizes = dict(manifest.sizes) | {"evidence.json": (folder / "evidence.json").stat().st_size}
        content = manifest.model_copy(update={"files": files, "sizes": sizes}).to_json()
        (folder / "manifest.json").write_bytes(content)
        (folder / "manifest.sig").write_bytes(store.keys.signer().sign(content))
        assert failed(life) == {"manifest", "artifact", "golden rows", "evidence", "query"}


def test_a_version_without_evidence_and_signature_fails_both_checks(life: Life, tmp_path: Path) -> None:
    store, old = life.resources.artifacts, life.versions[0]
    (tmp_path / "model.onnx").write_bytes(b"of another")
    manifest = Manifest(
        model="letters", files={"model.onnx": file_digest(tmp_path / "model.onnx")}, spec_digest="s", data_digest="d",
        code_digest="c", libraries={}, created_at=old.created_at,
    )  # fmt: skip
    life.resources.ledger.register(
        manifest, "bare", old.evaluation, old.decision, lambda version: store.put(tmp_path, manifest, version)
    )

    def failures() -> dict[str, str]:
        found = pipeline.verify_version("letters", 1, life.resources)
        return {check.name: check.sentence for check in found if not check.passed}

    assert set(failures()) == {"golden rows", "evidence", "query"}
    assert failures()["evidence"].startswith("evidence.json: expected the evidence of the version's gates")
    (Path(store.locate("letters", 1)) / "manifest.sig").unlink()
    assert set(failures()) == {"signature", "artifact", "golden rows", "evidence", "query"}


# -- the story of a promotion ----------------------------------------------------------------------


def test_a_promotion_is_explained_from_who_to_what(life: Life, monkeypatch, capsys) -> None:
    settings = life.resources.settings
    for name in ("home", "database_url", "models_dir"):
        monkeypatch.setenv(f"SLUICE_{name.upper()}", str(getattr(settings, name)))
    assert main(["explain-promotion", "parcels", "1"]) == 0
    said = capsys.readouterr().out
    first = life.versions[0]
    for words in (
        "Promotion 1 of parcels: from no champion to version 1", "by ann", "in force until", "(sequence 2, ben)",
        first.data_digest, first.spec_digest, first.artifact_digest, first.evidence_digest,
        "training  2026-01-10 00:00 to 2026-02-19 00:00 UTC", "Gates: accepted", "roc_auc", "Rehearsal: not measured",
        "Parity: passed", "Trained twice: the same bytes", "Approval: not required",
        "signature: Ed25519, by trusted key", "was computed again and matches", "card.html",
        "No earlier candidate was evaluated on this holdout.",
    ):  # fmt: skip
        assert words in said, words
    assert all(gate.sentence in said for gate in first.decision.gates)

    assert main(["explain-promotion", "parcels", "2"]) == 0
    assert "Earlier candidates evaluated on overlapping holdouts: 1 (version 1)." in capsys.readouterr().out

    assert main(["explain-promotion", "parcels", "3"]) == 0
    said = capsys.readouterr().out
    assert "from version 2 to version 1" in said
    assert "rolled back" in said
    assert "because: worse on Mondays" in said

    assert main(["verify", "parcels", "1"]) == 0
    assert "parcels version 1: all 16 checks passed" in capsys.readouterr().out
    with life.tampered(1) as folder:
        (folder / "card.html").write_text("nicer figures")
        assert main(["verify", "parcels", "1"]) == 1
        assert "FAILED: file card.html, artifact" in capsys.readouterr().out.splitlines()[-1]
        assert main(["explain-promotion", "parcels", "1"]) == 1
        assert "Card: none" in capsys.readouterr().out


def test_a_promotion_that_never_was_is_an_error_that_lists_those_that_were(life: Life) -> None:
    with pytest.raises(
        UnknownPromotionError, match=r"has no promotion with sequence number 77; those that exist: 1, 2, 3"
    ):
        pipeline.explain_promotion(life.spec.name, 77, life.resources)


def test_a_signature_by_a_key_that_is_no_longer_trusted_is_named(life: Life, tmp_path: Path) -> None:
    stranger = Keyring(tmp_path)
    with life.tampered(1) as folder:
        (folder / "manifest.sig").write_bytes(stranger.signer().sign((folder / "manifest.json").read_bytes()))
        assert "signature" in failed(life)
        assert stranger.signer().key_id in checks(life)["signature"].sentence


def test_a_promotion_that_was_decided_on_other_evidence_is_named(life: Life) -> None:
    """The last of these tests: a promotion stays in the ledger."""
    statement = (
        "INSERT INTO sluice.promotion (model, sequence, from_version, to_version, actor, reason, evidence_digest)"
        " VALUES (:model, 4, 1, 2, 'mallory', 'because I can', :digest)"
    )
    with life.resources.engine.begin() as connection:
        connection.execute(text(statement), {"model": life.spec.name, "digest": "0" * 64})
    assert failed(life, 2) == {"promotion 4"}
