"""What the command line tells of versions: all of them, their cards, and the same for programs, as JSON."""

from __future__ import annotations

import json
import math
import stat
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from include import pipeline
from include.cli.output import show
from include.cli.url import connection_string
from include.records import Evaluation
from include.spec import ModelSpec
from tests.builders import SPEC, declare_model, load_parcels, promote_first, retrain

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(new_database, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a model of four versions: a former champion, one rolled back, the champion, and a rejected one."""
    folder = tmp_path_factory.mktemp("listing")
    settings = {
        "SLUICE_DATABASE_URL": new_database(), "SLUICE_HOME": str(folder / "home"),
        "SLUICE_MODELS_DIR": str(folder / "models"),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        (folder / "models").mkdir()
        with pipeline.open_resources() as resources:
            load_parcels(resources.engine)
            spec = promote_first(declare_model(folder / "models"), resources)
            versions = [retrain(spec, f"run {number}", resources) for number in (2, 3)]
            pipeline.move_champion(spec.name, versions[0].version, "ann", "a trial week", resources)
            pipeline.roll_back(spec.name, None, "ann", "worse on Mondays", resources)
            pipeline.move_champion(spec.name, versions[1].version, "ann", "another trial", resources)
            retrain(strict(folder / "models"), "run 4", resources)
    return settings


def strict(models: Path) -> ModelSpec:
    never = "MetricThreshold(metric='roc_auc', minimum=0.9999), MinimumLabels(rows=100_000),"
    return declare_model(models, spec=SPEC.replace("MinimumLabels(rows=100),", never))


@pytest.fixture
def sluice(home: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    from include.cli import main

    for name, value in home.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_versions_lists_all_with_verdict_first_reason_standing_and_card(sluice: Call) -> None:
    code, said, _ = sluice("versions", "parcels")
    assert code == 0
    lines = said.splitlines()
    assert [" ".join(line.split()[3:-1]) for line in lines[1:5]] == [
        "accepted former champion", "accepted rolled back", "accepted champion", "rejected never champion",
    ]  # fmt: skip
    assert lines[1].endswith("artifacts/parcels/1/card.html")
    assert lines[5].lstrip().startswith("metric_threshold: roc_auc: candidate 0.")
    assert lines[5].endswith("limit at least 0.9999: failed (and 1 more)")
    code, said, complained = sluice("versions", "parsels")
    assert (code, said) == (1, "")
    assert "declared models: parcels" in complained


def test_card_is_the_champion_s_or_that_of_a_version(sluice: Call, tmp_path: Path, monkeypatch) -> None:
    code, said, _ = sluice("card", "parcels")
    assert code == 0
    assert said.endswith("artifacts/parcels/3/card.html\n")
    assert Path(said.strip()).is_file()
    assert sluice("card", "parcels", "1")[1].endswith("artifacts/parcels/1/card.html\n")
    assert "has no version 9; existing versions: 1, 2, 3, 4" in sluice("card", "parcels", "9")[2]

    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("webbrowser._tryorder", None)  # it looks for browsers once in a process
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert sluice("card", "parcels", "--open")[0] == 0
    assert opened.read_text() == Path(said.strip()).as_uri()


def test_promoting_what_gates_rejected_names_them_and_wants_force(sluice: Call) -> None:
    code, _, complained = sluice("promote", "parcels", "4", "--reason", "the gate is wrong")
    assert code == 1
    assert "because gates failed: metric_threshold: roc_auc" in complained
    assert "; minimum_labels: holdout: " in complained
    assert "`sluice promote parcels 4 --force --reason ...`" in complained
    code, _, again = sluice("rollback", "parcels", "4", "--reason", "the gate is wrong")
    assert (code, again) == (1, complained)
    code, _, complained = sluice("rollback", "parcels", "2", "--reason", "the gate is wrong")
    assert code == 1
    assert "found version 2, which was rolled back" in complained


def test_a_short_reason_is_an_invalid_argument(sluice: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sluice("promote", "parcels", "4", "--reason", "\u00a0 because \u200b")
    assert ended.value.code == 2
    assert "expected a reason of at least 10 visible characters; found 7 in 'because'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "look"),
    [
        (["versions", "parcels"], lambda found: [each["accepted"] for each in found] == [True, True, True, False]),
        (["history", "parcels"], lambda found: [each["to_version"] for each in found] == [1, 2, 1, 3]),
        (["history", "parcels", "--at", "2100-01-01"], lambda found: found["to_version"] == 3),
        (["status"], lambda found: found["models"][0]["champion"]["reason"] == "another trial" and not found["broken"]),
        (["verify", "parcels", "1"], lambda found: found["passed"] and found["checks"][0]["name"] == "ledger"),
        (["ml-test-score", "parcels"], lambda found: found["score"] == min(found["sums"].values())),
        (["explain-promotion", "parcels", "3"], lambda found: found["rollback"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_json_is_one_document_of_the_same(sluice: Call, words: list[str], look: Callable[[Any], bool]) -> None:
    code, said, complained = sluice(*words, "--json")
    assert (code, complained) == (0, "")
    assert look(json.loads(said, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")))


def test_json_of_no_answer_is_null_with_the_same_status(sluice: Call) -> None:
    assert sluice("history", "parcels", "--at", "2020-01-01", "--json")[:2] == (1, "null\n")


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    found = Evaluation(model="m", rows=1, candidate={"auc": math.nan, "loss": math.inf}, baseline={})
    show(Namespace(json=True), [found], [])
    assert json.loads(capsys.readouterr().out)[0]["candidate"] == {"auc": None, "loss": None}


def test_url_is_a_connection_string_that_connects(sluice: Call, home: dict[str, str], monkeypatch) -> None:
    address = make_url(home["SLUICE_DATABASE_URL"])
    code, said, note = sluice("url")
    assert code == 0
    assert str(address.password) not in said + note
    assert "the password is left out; --password prints it, too" in note
    monkeypatch.setenv("PGPASSWORD", str(address.password))
    with psycopg.connect(said.strip()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    monkeypatch.delenv("PGPASSWORD")
    code, said, note = sluice("url", "--format", "sqlalchemy", "--password")
    assert note == ""
    with create_engine(said.strip()).connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


@pytest.mark.parametrize(
    ("form", "password", "expected"),
    [
        ("libpq", False, "postgresql://ann@db:5433/sluice?sslmode=require"),
        ("libpq", True, "postgresql://ann:p%40ss%2F%3A%20w@db:5433/sluice?sslmode=require"),
        ("sqlalchemy", False, "postgresql+psycopg://ann@db:5433/sluice?sslmode=require"),
        ("jdbc", False, "jdbc:postgresql://db:5433/sluice?sslmode=require"),
        ("jdbc", True, "jdbc:postgresql://db:5433/sluice?user=ann&password=p%40ss%2F%3A+w&sslmode=require"),
    ],
)
def test_url_escapes_what_is_special(form: str, password: bool, expected: str) -> None:
    address = make_url("postgresql://ann:p%40ss%2F%3A%20w@db:5433/sluice?sslmode=require")
    assert connection_string(address, form, password=password) == expected
