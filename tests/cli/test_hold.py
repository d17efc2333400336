"""``sluice hold``, and what the other commands say of a hold, of older data and of a retrain with nothing new."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from include.models import read_spec
from include.settings import load_settings
from tests.builders import TODAY
from tests.cli.conftest import register

WHY = "because of the alarms"
AS_OF = TODAY.isoformat()


@pytest.fixture
def held(sluice):
    """Version 1 is champion; the promotion of version 2 was rolled back, so promotions are held."""
    spec = read_spec(load_settings().models_dir / "parcels" / "spec.py")
    for run in ("run 1", "run 2"):
        register(spec, run)
    sluice("promote", "parcels", "1", "--reason", "the first one")
    sluice("promote", "parcels", "2", "--reason", "the second one")
    code, said, _ = sluice("rollback", "parcels", "--reason", WHY)
    assert code == 0
    return said


def test_a_rollback_says_that_it_holds_promotions_and_what_ends_it(held: str) -> None:
    first, second = held.splitlines()
    assert first == "Version 1 of parcels is champion again (sequence 3); version 2 is rolled back."
    assert "holds promotions of 'parcels' since" in second
    assert second.endswith(
        f"until it is lifted (reason: {WHY}): no retrain promotes a version. "
        "`sluice hold parcels --lift --reason ...` ends it."
    )


@pytest.mark.usefixtures("held")
def test_status_shows_it_until_it_is_lifted(sluice) -> None:
    _, said, _ = sluice("status")
    (line,) = (line for line in said.splitlines() if line.startswith("  held: "))
    assert f"(reason: {WHY}); `sluice hold parcels --lift --reason ...` ends it" in line
    (row,) = json.loads(sluice("status", "--json")[1])["models"]
    assert (row["hold"]["reason"], row["hold"]["held_until"]) == (WHY, None)
    code, said, _ = sluice("hold", "parcels", "--lift", "--reason", "the source is corrected")
    assert code == 0
    assert said.splitlines()[0].endswith("is lifted: the next retrain promotes what the gates accept.")
    assert "held:" not in sluice("status")[1]
    code, _, complained = sluice("hold", "parcels", "--lift", "--reason", "the source is corrected")
    assert code == 1
    assert "hold of 'parcels': expected a hold in force; found none" in complained


@pytest.mark.usefixtures("held")
def test_a_retrain_registers_promotes_nothing_and_says_why_and_a_person_promotes_it(sluice) -> None:
    code, said, _ = sluice("train", "parcels", "--as-of", AS_OF, "--again")
    assert code == 3
    assert "version 3 of 'parcels' is registered and not promoted: " in said
    assert f"until it is lifted (reason: {WHY}). The champion stays." in said
    assert 'Next: sluice promote parcels 3 --reason "..."   (all the same)' in said
    code, said, _ = sluice("promote", "parcels", "3", "--reason", "seen on the card")
    assert (code, said.splitlines()[0]) == (0, "Version 3 of parcels is champion (sequence 4).")
    assert "no retrain promotes a version" in said


def test_a_hold_until_a_time(sluice) -> None:
    code, said, _ = sluice("hold", "parcels", "--until", "2101-01-02T03:04", "--reason", WHY)
    assert code == 0
    assert f", until 2101-01-02 03:04 UTC (reason: {WHY})." in said
    assert "`sluice promote parcels N --reason ...` still works." in said


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["parsels", "--reason", WHY], 1, "there is no model 'parsels'; declared models: parcels"),
        (["parcels", "--reason", WHY, "--until", "2020-01-01"], 1, "expected an end in the future; found 2020-01-01"),
        (["parcels", "--reason", WHY, "--until", "soon"], 2, "expected a time such as 2026-01-31T12:00; found 'soon'"),
        (["parcels", "--reason", "x"], 2, "expected a reason of at least 10 visible characters"),
        (["parcels", "--reason", WHY, "--lift", "--until", "2101-01-01"], 2, "not allowed with argument"),
    ],
)
def test_what_cannot_be_held_is_refused(sluice, capsys, words: list[str], code: int, complaint: str) -> None:
    try:
        found, _, complained = sluice("hold", *words)
    except SystemExit as ended:
        found, complained = ended.code, capsys.readouterr().err
    assert found == code
    assert complaint in " ".join(complained.split())


def test_a_training_goes_on_with_a_version_that_was_registered_and_never_promoted(sluice) -> None:
    assert sluice("train", "parcels", "--as-of", AS_OF, "--no-promote")[0] == 0
    code, said, _ = sluice("train", "parcels", "--as-of", AS_OF)
    assert code == 0
    assert "Nothing new: version 1 (run shell__" in said
    assert "Version 1 of parcels is champion (sequence 1)." in said


def test_a_second_training_with_nothing_new_says_so_and_is_no_failure(sluice) -> None:
    assert sluice("train", "parcels", "--as-of", AS_OF)[0] == 0
    code, said, complained = sluice("train", "parcels", "--as-of", AS_OF)
    assert (code, complained) == (0, "")
    assert "model 'parcels': nothing new: version 1 (run shell__" in said
    assert "It is the champion. To train it once more all the same: `sluice train parcels --again`." in said
    earlier = (TODAY - timedelta(days=1)).isoformat()
    code, said, _ = sluice("train", "parcels", "--as-of", earlier)
    assert code == 3
    assert "version 2 of 'parcels' is registered and not promoted: expected data that end at 2026-03-01" in said
    code, said, _ = sluice("promote", "parcels", "2", "--reason", "seen on the card")
    assert "Its data end at 2026-02-28 00:00 UTC, before those of version 1 (2026-03-01 00:00 UTC)." in said
