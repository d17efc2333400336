"""The history of one model, shared by all these tests: trained twice, promoted, scored, rolled back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from include import pipeline
from include.records import ModelVersion, Period
from include.resources import Resources, open_resources
from include.settings import Settings
from include.spec import ModelSpec
from tests.builders import SPEC, declare_model, load_parcels, retrain


@dataclass
class Life:
    """The model, and its home."""

    spec: ModelSpec
    resources: Resources
    versions: list[ModelVersion]

    @contextmanager
    def tampered(self, version: int) -> Iterator[Path]:
        """Yield a version's folder to tamper with, and restore it afterwards."""
        folder = Path(self.resources.artifacts.locate(self.spec.name, version))
        kept = folder.with_name(f"kept-{version}")
        shutil.copytree(folder, kept)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            kept.rename(folder)


@pytest.fixture(scope="session")
def life(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    home = tmp_path_factory.mktemp("audit")
    with open_resources(Settings(home=home, database_url=new_database(), models_dir=home / "models")) as resources:
        load_parcels(resources.engine)
        spec = declare_model(
            home / "models",
            spec=SPEC.replace("    retrain_schedule=None,", "    retrain_schedule=None, reproducible=True,"),
        )
        versions = [retrain(spec, f"run {number}", resources) for number in (1, 2)]
        pipeline.promote_candidate(spec, versions[0], "ann", resources)
        pipeline.move_champion(spec.name, 2, "ben", "a trial week", resources)
        pipeline.score(spec, "score 1", Period.of_day(date(2026, 2, 20)), resources)
        pipeline.move_champion(spec.name, 1, "ann", "worse on Mondays", resources)
        yield Life(spec, resources, versions)
