"""``sluice keys``, called as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.cli import main


@pytest.fixture
def sluice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_embedded_pair_is_listed_and_rotated(sluice) -> None:
    assert sluice("keys")[1].startswith("trusted: none yet")
    first = sluice("keys", "rotate")[1].split()[1]
    said = sluice("keys", "rotate")[1]
    second = said.split()[1]
    assert first != second
    assert set(said.splitlines()[1].removeprefix("trusted: ").split(", ")) == {first, second}


def test_a_pair_for_production_says_which_variables_name_it(sluice, tmp_path: Path, monkeypatch) -> None:
    code, said, _ = sluice("keys", "generate", str(tmp_path / "pair"))
    assert code == 0
    for line in said.splitlines():
        name, _, value = line.split()[0].partition("=")
        monkeypatch.setenv(name, value)
    assert sluice("keys")[0] == 0
    code, _, complained = sluice("keys", "rotate")
    assert code == 1
    assert "expected neither" in complained
    assert sluice("keys", "generate", str(tmp_path / "pair"))[0] == 1
    assert "expected a folder for the key pair" in sluice("keys", "generate")[2]
