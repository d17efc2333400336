"""``sluice approve``: declared approvers and nobody else, never for oneself, and only what still is as it was shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.cli import person
from include.spec import ModelSpec
from tests.builders import SPEC, TODAY, declare_model
from tests.cli.conftest import register

Call = Callable[..., tuple[int, str, str]]
APPROVED = SPEC.replace(
    "retrain_schedule=None,", "retrain_schedule=None, approval=ApprovalPolicy(approvers=('ann', 'bob')),"
)


@pytest.fixture
def by(sluice: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls ``sluice`` as a person does."""

    def call(who: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(person, "who", lambda: who)
        return sluice(*words)

    return call


@pytest.fixture
def spec(sluice: Call, tmp_path: Path) -> ModelSpec:
    """A model of which only ann and bob may approve a version."""
    return declare_model(tmp_path / "models", spec=APPROVED)


def approve(by: Call, who: str, version: int = 1) -> tuple[int, str, str]:
    return by(who, "approve", "parcels", str(version), "--comment", "seen on the card")


def test_who_is_declared_approves_and_another_promotes(by: Call, spec: ModelSpec) -> None:
    register(spec, "scheduled", None)
    code, _, complained = approve(by, "dan")
    assert code == 1
    assert "'dan' may not approve version 1 of 'parcels': the declaration names ann, bob" in complained
    assert "nobody has approved it" in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[2]
    assert "is approved by ann" in approve(by, "ann")[1]
    assert "Version 1 of parcels is champion" in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[1]


def test_who_triggered_the_run_may_not_though_declared(by: Call, spec: ModelSpec) -> None:
    code, said, _ = by("ann", "train", "parcels", "--as-of", TODAY.isoformat())
    assert (code, "waits for an approval" in said) == (0, True)
    code, _, complained = approve(by, "ann")
    assert code == 1
    refused = "'ann' may not approve version 1 of 'parcels': the person who triggered the run may not approve it"
    assert refused in complained
    assert approve(by, "bob")[0] == 0


def test_what_changed_since_the_evidence_was_gathered_is_approved_no_more(by: Call, spec: ModelSpec) -> None:
    register(spec, "one", "eve")
    register(spec, "two", "eve")
    assert "is void: version 2 was registered" in approve(by, "ann", 1)[2]
    assert approve(by, "ann", 2)[0] == 0
    by("bob", "promote", "parcels", "2", "--reason", "approved by ann")
    assert "is void: the champion changed (sequence 0 then, 1 now)" in approve(by, "ann", 2)[2]


def test_what_was_declared_otherwise_since_the_evidence_was_gathered_is_approved_no_more(
    by: Call, spec: ModelSpec
) -> None:
    register(spec, "one", "eve")
    declaration = spec.folder / "spec.py"
    declaration.write_text(declaration.read_text().replace("MinimumLabels(rows=100)", "MinimumLabels(rows=1)"))
    assert "is void: the declaration (spec.py or features.sql) changed" in approve(by, "ann")[2]


def test_what_was_declared_otherwise_since_it_was_approved_is_promoted_no_more(by: Call, spec: ModelSpec) -> None:
    register(spec, "one", "eve")
    assert approve(by, "ann")[0] == 0
    declaration = spec.folder / "spec.py"
    before = declaration.read_text()
    declaration.write_text(before.replace("MinimumLabels(rows=100)", "MinimumLabels(rows=1)"))
    void = "is void: the declaration (spec.py or features.sql) changed"
    assert void in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[2]
    declaration.write_text(before)
    assert "Version 1 of parcels is champion" in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[1]

    register(spec, "two", "eve")
    approve(by, "ann", 2)
    by("bob", "promote", "parcels", "2", "--reason", "approved by ann")
    declaration.write_text(before.replace("MinimumLabels(rows=100)", "MinimumLabels(rows=1)"))
    back = by("bob", "rollback", "parcels", "1", "--reason", "worse on Mondays")
    assert back[0] == 0, "the way back to what was champion asks for nothing"


def test_a_version_whose_artifact_was_changed_is_neither_approved_nor_promoted(by: Call, spec: ModelSpec) -> None:
    register(spec, "one", "eve")
    (evidence,) = spec.folder.parents[1].glob("**/artifacts/parcels/1/evidence.json")
    whole = evidence.read_bytes()
    evidence.write_bytes(whole.replace(b"roc_auc", b"roc_cua", 1))
    assert "evidence.json: expected SHA-256" in approve(by, "ann")[2]
    evidence.write_bytes(whole)
    assert approve(by, "ann")[0] == 0
    evidence.write_bytes(whole + b" ")
    assert "evidence.json: expected" in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[2]
    evidence.write_bytes(whole)
    assert "Version 1 of parcels is champion" in by("bob", "promote", "parcels", "1", "--reason", "approved by ann")[1]


def test_nobody_is_who_the_environment_says(by: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    me = person.who()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ann")
    assert person.who() == me != "ann"
    monkeypatch.setattr("os.getuid", lambda: 3_999_999_999)
    assert person.who() == "uid 3999999999"


def test_a_model_whose_declaration_is_gone_has_no_known_approvers(by: Call, spec: ModelSpec) -> None:
    (spec.folder / "spec.py").unlink()
    code, _, complained = approve(by, "ann")
    assert code == 1
    assert "there is no model 'parcels'" in complained
