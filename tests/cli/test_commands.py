"""The command line, called as a person calls it."""

from __future__ import annotations

import re

import pytest

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

    assert sluice("train", "parcels", "--as-of", AS_OF, "--again", "--no-promote")[0] == 0
    assert "Version 2 of parcels is champion" in sluice("promote", "parcels", "2", "--reason", "a trial week")[1]
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
    code, _, complained = sluice("rollback", "parcels", "--reason", "worse on Mondays")
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


def test_psql_takes_its_own_arguments_and_other_commands_take_no_others(sluice, tmp_path) -> None:
    file = tmp_path / "found"
    assert sluice("psql", "-At", "-o", str(file), "-c", "SELECT 1, 2", "-c", "SELECT 3")[0] == 0
    assert file.read_text() == "1|2\n3\n"
    with pytest.raises(SystemExit) as refused:
        sluice("status", "-At")
    assert refused.value.code == 2


def test_new_leaves_a_table_of_that_name_alone_and_writes_no_folder(sluice, tmp_path) -> None:
    assert sluice("psql", "-c", "CREATE VIEW source.churn AS SELECT 7 AS mine")[0] == 0
    code, _, complained = sluice("new", "churn")
    assert code == 1
    assert "source.churn: expected no table or view of this name" in complained
    assert not (tmp_path / "models" / "churn").exists()


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


@pytest.mark.parametrize("moment", ["now", "yesterday", "2026-13-01", "0000-01-01", "10000-01-01"])
def test_a_time_that_is_none_is_named_before_anything_is_opened(sluice, capsys, moment: str) -> None:
    with pytest.raises(SystemExit) as caught:
        sluice("train", "parcels", "--as-of", moment)
    assert caught.value.code == 2
    assert f"expected a time such as 2026-01-31T12:00; found '{moment}'" in capsys.readouterr().err


def test_a_time_outside_the_data_ends_in_a_sentence(sluice) -> None:
    code, _, complained = sluice("train", "parcels", "--as-of", "0001-01-01")
    assert code == 1
    assert "expected a window that begins in the year 1 or later" in complained
    code, _, complained = sluice("train", "parcels", "--as-of", "9999-12-31")
    assert code == 1
    assert "expected 500 to 100,000 rows; found 0" in complained
    for day in ("9999-12-31", "9999-12-31T12:00"):
        code, _, complained = sluice("score", "parcels", "--partition", day)
        assert code == 1
        assert f"within the years 1 to 9999; found {day[:10]}" in complained
    code, _, complained = sluice("backfill", "parcels", "--from", "9999-12-30", "--to", "9999-12-31")
    assert code == 1
    assert "within the years 1 to 9999" in complained
