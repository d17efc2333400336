"""The command line on a separate database."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from include import pipeline
from include.cli import main
from include.spec import ModelSpec
from tests.builders import declare_model, load_parcels, retrain


@pytest.fixture
def sluice(database_url, engine: Engine, tmp_path, monkeypatch, capsys):
    """Calls ``sluice`` with arguments; returns exit code, output and errors."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_MODELS_DIR", str(tmp_path / "models"))
    load_parcels(engine)
    declare_model(tmp_path / "models")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def register(spec: ModelSpec, run: str, requested_by: str | None = None) -> None:
    """Register a version as a retrain does, without the rehearsal."""
    with pipeline.open_resources() as resources:
        retrain(spec, run, resources, requested_by)
