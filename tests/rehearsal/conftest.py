"""A candidate, trained and exported once, and copies of it that each test may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from include import pipeline
from include.records import ExportedCandidate
from include.resources import Resources, open_resources
from include.settings import Settings
from include.spec import ModelSpec
from tests.builders import TODAY, declare_model, load_parcels


@dataclass
class Trained:
    """A candidate before its rehearsal."""

    spec: ModelSpec
    exported: ExportedCandidate
    resources: Resources


@pytest.fixture(scope="module")
def trained(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The parcels' model, exported; the home's path has a space in it."""
    home = tmp_path_factory.mktemp("a home")
    with open_resources(Settings(home=home, database_url=new_database(), service_workers=1)) as resources:
        load_parcels(resources.engine)
        spec = declare_model(home / "models")
        done = pipeline.retrain(spec, "run 1", TODAY, resources, report=None, until="export")
        yield Trained(spec, done.exported, resources)


@pytest.fixture
def candidate(trained: Trained, tmp_path: Path) -> ExportedCandidate:
    """A copy of the candidate's folder, and the candidate in it."""
    folder = shutil.copytree(trained.exported.fitted.folder, tmp_path / "run folder")
    fitted = trained.exported.fitted.model_copy(update={"folder": str(folder)})
    return trained.exported.model_copy(update={"fitted": fitted})
