"""`sluice plan`, called as a person and as CI call it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.builders import QUERY, SPEC, declare_model
from tests.cli.conftest import register


def test_a_plan_from_the_first_training_to_a_change_that_breaks(sluice, tmp_path: Path) -> None:
    models = tmp_path / "models"
    code, said, _ = sluice("plan", "parcels")
    assert (code, said) == (
        0,
        "parcels: no champion yet, so there is nothing to compare with. `sluice train parcels`.\n",
    )

    register(declare_model(models), "first")
    assert sluice("promote", "parcels", "1", "--reason", "the first of them")[0] == 0
    assert sluice("score", "parcels", "--partition", "2026-02-20", "--to", "2026-02-21")[0] == 0
    code, said, _ = sluice("plan", "parcels")
    assert (code, said) == (0, "parcels: nothing differs from the declaration of the champion, version 1.\n")

    declare_model(models, spec=SPEC.replace('owner="tests"', 'owner="operations"'))
    code, said, _ = sluice("plan", "parcels")
    assert code == 0
    assert "owner: 'tests' -> 'operations'\n  compatible: it is shown to people" in said
    assert "retrain_parcels and score_parcels: owner" in said
    assert said.endswith("\nparcels: compatible.\n")

    declare_model(models, spec=SPEC.replace('unit="kg"', 'unit="g"'), query=QUERY + "AND NOT fragile")
    code, said, _ = sluice("plan", "parcels")
    assert code == 5
    assert "features.weight.unit: 'kg' -> 'g'" in said
    assert "breaks readers: of the service: it is in kg, and g is declared" in said
    assert "needs a backfill: other rows are scored: of the partition 2026-02-21 00:00 UTC 40 before and 32 now" in said
    assert "--from 2026-02-20T00:00Z --to 2026-02-21T00:00Z --version N`" in said
    assert "2 published partition(s), from 2026-02-20 00:00 to 2026-02-21 00:00 UTC" in said
    assert "scores.parcels_latest" in said

    code, said, _ = sluice("plan", "parcels", "--json")
    found = json.loads(said)
    assert code == 5
    assert [each["field"] for each in found["changes"]] == ["features.weight.unit", "features.sql"]
    assert found["rows"]["only_before"] == 8
    assert found["classes"] == ["needs_retrain", "needs_backfill", "breaks_readers"]
    assert (found["stops_scoring"], found["breaks"]) == (False, True)

    declare_model(models, spec=SPEC.replace('name="weight"', 'name="mass"'))
    code, said, _ = sluice("plan", "parcels")
    assert code == 5
    assert "A version of this declaration cannot be trained:\n  its features.sql gives no column 'mass'" in said


def test_the_version_to_roll_back_to_is_the_one_that_rollback_goes_to(sluice, tmp_path: Path) -> None:
    spec = declare_model(tmp_path / "models")
    for version in (1, 2):
        register(spec, f"run {version}")
        assert sluice("promote", "parcels", str(version), "--reason", "tried for a whole week")[0] == 0
    assert ("rollback", 1) in roles(sluice)
    assert sluice("rollback", "parcels", "--reason", "too many false alarms")[0] == 0
    assert roles(sluice) == [("champion", 1)]  # version 2 is the bad one: nobody goes back to it


def roles(sluice) -> list[tuple[str, int]]:
    code, said, _ = sluice("plan", "parcels", "--json")
    assert code == 0
    return [(each["role"], each["version"]) for each in json.loads(said)["versions"]]
