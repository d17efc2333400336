"""`sluice check`, called as a person and as a CI job call it."""

from __future__ import annotations

import json

import pytest

from include.settings import load_settings
from tests.builders import TODAY
from tests.checking.mistakes import MISTAKES, plant

AS_OF = ("--as-of", TODAY.isoformat())


def test_a_sound_model_ends_with_0_and_a_cost(sluice) -> None:
    code, said, complained = sluice("check", "parcels", *AS_OF)
    assert (code, complained) == (0, "")
    assert said.startswith("parcels: no errors, no warnings (")
    assert "a training on its 2,000 rows: about" in said


def test_all_models_are_checked_and_any_error_ends_with_1(sluice) -> None:
    folder = load_settings().models_dir
    plant(folder / "parcels", MISTAKES["owner is a number"], MISTAKES["a misspelt parameter"])
    (folder / "worse").mkdir()
    (folder / "worse" / "spec.py").write_text("spec = ")
    code, said, _ = sluice("check", *AS_OF)
    assert code == 1
    assert "parcels: 2 errors, no warnings" in said
    assert "/parcels/spec.py:17: field 'owner': expected text in quotes; found 3." in said
    assert "/parcels/features.sql:4: field ':period_end':" in said
    assert "worse: 2 errors, no warnings" in said, "no Python, and no query"


def test_json_has_every_part_of_a_finding(sluice) -> None:
    plant(load_settings().models_dir / "parcels", MISTAKES["a misspelt choice"])
    code, said, _ = sluice("check", "parcels", "--json", *AS_OF)
    assert code == 1
    (model,) = json.loads(said)
    (finding,) = model["findings"]
    assert finding == {
        "file": str(load_settings().models_dir / "parcels" / "spec.py"),
        "line": 24,
        "field": "features.2.handle_unknown",
        "feature": "carrier",
        "severity": "error",
        "sentence": "expected 'error' or 'ignore'; found 'eror'",
        "hint": "Did you mean 'error'?",
    }


def test_without_a_database_the_text_is_checked_and_the_rest_said_loudly(sluice, monkeypatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, said, complained = sluice("check", "parcels", *AS_OF)
    assert code == 4
    assert "parcels: no errors" in said
    assert "NOT CHECKED: features.sql in the database, and the rows." in complained
    monkeypatch.delenv("SLUICE_DATABASE_URL")
    code, _, complained = sluice("check", "parcels")
    assert code == 4, "there is no embedded server, and a check makes none"
    assert "NOT CHECKED" in complained
    plant(load_settings().models_dir / "parcels", MISTAKES["owner is a number"])
    assert sluice("check", "parcels")[0] == 1, "an error counts more"


@pytest.mark.parametrize(("mistake", "code"), [(None, 0), ("an unknown argument", 1), ("a slow import", 0)])
def test_no_database_is_wanted(sluice, mistake: str | None, code: int) -> None:
    plant(load_settings().models_dir / "parcels", *([MISTAKES[mistake]] if mistake else []))
    found, _, complained = sluice("check", "parcels", "--no-database")
    assert (found, complained) == (code, "")


def test_a_model_that_is_not_there_is_named(sluice) -> None:
    code, _, complained = sluice("check", "parsels")
    assert code == 1
    assert "there is no model 'parsels'; declared models: parcels" in complained
