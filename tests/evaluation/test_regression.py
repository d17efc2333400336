"""A regression goes the whole way, as a first version and beside a champion: no step takes classes for granted."""

from __future__ import annotations

from pathlib import Path

from include import pipeline
from include.models import read_spec
from include.records import Evaluation
from include.resources import Resources
from tests.builders import TODAY
from tests.e2e.diabetes import declare_diabetes, load_diabetes


def test_a_regression_is_judged_registered_promoted_and_scored(resources: Resources, tmp_path: Path) -> None:
    load_diabetes(resources.database_url, until=TODAY.replace(hour=0))
    declare_diabetes(tmp_path)
    spec = read_spec(tmp_path / "diabetes" / "spec.py")

    def trained(run_id: str) -> tuple[int, Evaluation]:
        done = pipeline.retrain(spec, run_id, TODAY, resources, actor="tests", report=None, rehearsal=None, again=True)
        assert done.promotion is not None, done.version.decision.reasons
        return done.version.version, done.compared

    first, alone = trained("first")
    second, beside = trained("second")
    assert (first, second) == (1, 2)
    assert set(alone.intervals) >= {"mae", "rmse", "r2"}
    assert beside.differences["mae"].value == 0, "the same rows and the same seed make the same model"
    card = Path(resources.artifacts.locate("diabetes", second)) / "card.html"
    assert "mae" in card.read_text(encoding="utf-8")
