"""docs/how-to/boosters.md declares models that train, pass their gates and score, as it says."""

from __future__ import annotations

import re
from datetime import date

import pytest

from include import pipeline
from include.models import read_spec
from include.records import Period
from include.resources import Resources
from include.settings import REPOSITORY
from tests.builders import ROWS_A_DAY, load_parcels, retrain

PAGE = (REPOSITORY / "docs" / "how-to" / "boosters.md").read_text(encoding="utf-8")
EXTRAS = "it is not installed: make test EXTRAS=boosters"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def declarations() -> dict[str, str]:
    """Return the page's spec.py, and the same with the function of each later block."""
    whole, other = blocks("python")
    replaced = re.sub(r"^def build_estimator.*?(?=^spec =)", lambda _: f"{other}\n\n", whole, flags=re.DOTALL | re.M)
    assert replaced != whole
    return {"lightgbm": whole, "xgboost": replaced}


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_a_declaration_of_the_page_trains_and_scores(library: str, resources: Resources) -> None:
    pytest.importorskip(library, reason=EXTRAS)
    load_parcels(resources.engine)
    folder = resources.settings.home / "models" / "parcels"
    folder.mkdir(parents=True)
    (folder / "spec.py").write_text(declarations()[library])
    (folder / "features.sql").write_text(blocks("sql")[0])
    spec = read_spec(folder / "spec.py")
    version = retrain(spec, "run 1", resources)
    assert version.decision.accepted, version.decision
    pipeline.promote_candidate(spec, version, "ann", resources)
    published = pipeline.score(spec, "run 2", Period.of_day(date(2026, 2, 20)), resources)
    assert published.row_count == ROWS_A_DAY
