"""``sluice status``: what is wrong comes first, with the exit status of the worst."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from tests.builders import SPEC, TODAY, declare_model

DAILY = SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * *"')


@pytest.fixture
def daily(sluice, tmp_path, engine: Engine):
    """The command, with a model that is scored daily and has a champion since three days ago."""
    declare_model(tmp_path / "models", spec=DAILY)
    assert sluice("train", "parcels", "--as-of", TODAY.isoformat())[0] == 0
    since = datetime.now(UTC) - timedelta(days=3)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE sluice.promotion DISABLE TRIGGER append_only"))
        connection.execute(text("UPDATE sluice.promotion SET promoted_at = :since"), {"since": since})
        connection.execute(text("ALTER TABLE sluice.promotion ENABLE TRIGGER append_only"))
    return sluice


def test_late_partitions_are_a_page_with_the_command_that_ends_them(daily) -> None:
    code, said, _ = daily("status")
    assert code == 1
    first, now, do, *_ = said.splitlines()
    assert first.startswith("PAGE late_partition: ")
    assert "of parcels are not published" in first or "of parcels is not published" in first
    assert now == "  now: scores.parcels has no partition yet."
    assert "`sluice score parcels --partition " in do
    assert "parcels: champion version 1" in said

    code, said, _ = daily("status", "parcels", "--json")
    document = json.loads(said)
    [problem] = document["problems"]
    assert (code, problem["kind"], problem["severity"]) == (1, "late_partition", "page")
    assert [row["model"] for row in document["models"]] == ["parcels"]


def test_the_status_of_one_model_is_its_own(daily, tmp_path) -> None:
    declare_model(tmp_path / "models", "letters")
    code, said, _ = daily("status", "letters")
    assert (code, said) == (0, "letters: no champion, 0 version(s) registered, nothing scored\n")
    assert "parcels" not in said
    assert "letters" not in daily("status", "parcels")[1]
    code, _, complained = daily("status", "parsels")
    assert code == 1
    assert "there is no model 'parsels'" in complained


def test_a_broken_declaration_is_a_page_with_its_fault(sluice, tmp_path) -> None:
    folder = tmp_path / "models" / "broken"
    folder.mkdir()
    (folder / "spec.py").write_text("spec = 1 +\n")
    code, said, _ = sluice("status", "broken")
    assert code == 1
    assert said.startswith("PAGE broken_declaration: The declaration of broken cannot be read: ")
    assert "`sluice check broken`" in said
    assert sluice("status", "parcels")[0] == 0


def test_without_a_stack_neither_service_nor_airflow_is_missed(sluice) -> None:
    code, said, _ = sluice("status")
    assert (code, said) == (0, "parcels: no champion, 0 version(s) registered, nothing scored\n")


def test_a_service_that_is_configured_is_missed(sluice, monkeypatch) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_URL", "http://127.0.0.1:9")
    code, said, _ = sluice("status")
    assert code == 1
    assert said.startswith("PAGE service_down: The online service at http://127.0.0.1:9 does not answer: no answer (")
