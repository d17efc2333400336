"""The command line, called as a person calls it."""

from __future__ import annotations

import re

from tests.builders import TODAY

AS_OF = TODAY.isoformat()


def test_a_model_s_life_from_the_shell(sluice) -> None:
    code, said, _ = sluice("train", "parcels", "--as-of", AS_OF)
    assert code == 0
    assert "Version 1 of parcels is champion (sequence 1)." in said
    assert re.search(r"^  better_than_baseline: roc_auc: candidate 0\.\d{4}, baseline .*: passed$", said, re.MULTILINE)

    code, said, _ = sluice("score", "parcels", "--partition", "2026-02-20", "--to", "2026-02-22")
    assert code == 0
    assert said.count("40 rows published with version 1") == 3

    assert sluice("train", "parcels", "--as-of", AS_OF, "--no-promote")[0] == 0
    assert "Version 2 of parcels is champion" in sluice("promote", "parcels", "2", "--reason", "trial")[1]
    assert "Version 1 of parcels is champion" in sluice("rollback", "parcels", "--reason", "worse on Mondays")[1]

    _, said, _ = sluice("history", "parcels")
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [["1", "1"], ["2", "2"], ["3", "1"]]
    assert "worse on Mondays" in said
    assert "version 1 (sequence 3)" in sluice("history", "parcels", "--at", "2100-01-01")[1]

    _, said, _ = sluice("status")
    assert "parcels: champion version 1" in said
    assert "2 version(s) registered, newest partition 2026-02-22 (40 rows)" in said
    assert "artifacts/parcels/1/card.html" in said


def test_errors_say_what_to_do_on_standard_error(sluice) -> None:
    code, said, complained = sluice("train", "parsels")
    assert (code, said) == (1, "")
    assert (
        "there is no model 'parsels'; declared models: parcels. `sluice new parsels` writes a skeleton." in complained
    )


def test_who_was_champion_before_there_was_one(sluice) -> None:
    code, said, _ = sluice("history", "parcels", "--at", "2020-01-01")
    assert code == 1
    assert "had no champion at 2020-01-01" in said


def test_nothing_to_roll_back_to(sluice) -> None:
    code, _, complained = sluice("rollback", "parcels", "--reason", "x")
    assert code == 1
    assert "has no champion" in complained


def test_new_writes_a_model_that_works_as_it_stands(sluice) -> None:
    code, said, _ = sluice("new", "churn")
    assert code == 0
    assert "source.churn" in said
    code, said, complained = sluice("train", "churn")
    assert code == 0, said + complained
    assert sluice("score", "churn")[0] == 0


def test_new_overwrites_nothing(sluice) -> None:
    code, _, complained = sluice("new", "parcels")
    assert code == 1
    assert "parcels" in complained


def test_a_broken_spec_is_told_and_hides_no_other(sluice, tmp_path) -> None:
    folder = tmp_path / "models" / "broken"
    folder.mkdir()
    (folder / "spec.py").write_text(
        "from include.spec import Numeric\nspec = Numeric(name='x', unit='m', minimum=3, maximum=1)\n"
    )
    code, said, _ = sluice("status")
    assert code == 1
    assert "parcels: no champion" in said
    assert "broken/spec.py" in said
    assert "maximum must be above minimum" in said
