"""``sluice shadow``: who is in the shadow of the champion, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from include.models import read_spec
from include.settings import load_settings
from tests.cli.conftest import register

Call = Callable[..., tuple[int, str, str]]
ROW = {"weight": 1.5, "distance": None, "carrier": "ant", "fragile": True}


def test_a_version_is_chosen_measured_now_and_let_go(
    sluice: Callable[..., tuple[int, str, str]], engine: Engine
) -> None:
    spec = read_spec(load_settings().models_dir / "parcels" / "spec.py")
    register(spec, "one")
    register(spec, "two")
    assert sluice("promote", "parcels", "1", "--reason", "the first one")[0] == 0
    assert sluice("shadow", "status", "parcels")[1] == "No version of parcels runs in shadow.\n"
    assert sluice("shadow", "set", "parcels", "2")[1] == "Version 2 of parcels now runs in shadow.\n"
    said = sluice("shadow", "measure", "parcels")[1]
    assert "Nothing to measure" in said
    assert "Version 2 of parcels runs in shadow; nothing was measured yet." in said

    outputs = {"probabilities": {"on_time": 0.75, "late": 0.25}}
    entries = [
        {"predicted_at": f"2026-03-01T12:00:{n % 60:02}Z", "model": "parcels", "version": 1,
         "request_id": "r", "position": n,
         "inputs": ROW, "outputs": outputs}
        for n in range(120)
    ]  # fmt: skip
    with engine.begin() as connection:
        add = text("SELECT sluice.log_predictions(CAST(:entries AS jsonb), '9 years')")
        connection.execute(add, {"entries": json.dumps(entries)})
    said = sluice("shadow", "measure", "parcels")[1]
    assert said.startswith(
        "version 2 beside champion 1 on 120 rows of requests sampled from 2026-03-01 12:00 to 2026-03-01 12:00: "
        "rank correlation not defined"
    )
    assert sluice("shadow", "status", "parcels")[1] == said, "it tells what was last measured"
    assert sluice("shadow", "unset", "parcels")[1] == "No version of parcels runs in shadow any more.\n"
    assert sluice("shadow", "status", "parcels")[1] == "No version of parcels runs in shadow.\n"


def test_a_version_is_a_number(sluice: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        sluice("shadow", "set", "parcels", "newest")
    assert stopped.value.code == 2
    assert "invalid int value: 'newest'" in capsys.readouterr().err
