"""What only the whole can show: a third model by a folder alone, and a broken declaration beside the others."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e.conftest import TODAY, YESTERDAY, Declared, RunningStack, wait_for
from tests.e2e.diabetes import MEASURES

pytestmark = pytest.mark.slow


def test_a_third_model_takes_no_more_than_a_folder(stack: RunningStack, declared: Declared) -> None:
    assert stack.finished("retrain_diabetes", declared.diabetes_run, 400) == "success"
    day = f"{YESTERDAY:%Y-%m-%d}"
    assert stack.finished("score_diabetes", stack.trigger("score_diabetes", partition=day)) == "success"
    rows = stack.sql("SELECT entity_key, value, model_version FROM scores.diabetes")
    source = stack.sql("SELECT count(*) FROM source.diabetes WHERE seen_at >= %s AND seen_at < %s", YESTERDAY, TODAY)
    assert len(rows) == source[0][0] > 0

    patient, value, version = rows[0]

    def asked(method: str, path: str, **body: object) -> dict:
        def answer() -> dict | None:
            given = stack.service.request(method, f"/v1/models/diabetes/{path}", **body)
            return given.json() if given.is_success else None

        return wait_for(answer, 20, f"the service to answer {path}")

    looked_up = asked("GET", f"scores/{patient}")
    assert (looked_up["prediction"]["value"], looked_up["version"]) == (value, version)
    features = stack.sql(f"SELECT {', '.join(MEASURES)} FROM source.diabetes WHERE patient = %s", patient)[0]
    predicted = asked("POST", "predict", json={"features": list(features)})
    assert predicted["prediction"]["value"] == value, "batch and online must be the same number"


def test_a_broken_spec_is_shown_in_the_ui_and_breaks_no_other_model(stack: RunningStack) -> None:
    folder = stack.models / "broken"
    folder.mkdir()
    (folder / "features.sql").write_text("SELECT 1")
    (folder / "spec.py").write_text(
        "from include.spec import Numeric\nspec = Numeric(name='x', unit='m', minimum=3, maximum=1)\n"
    )

    def told() -> str | None:
        errors = stack.call("GET", "/importErrors")["import_errors"]
        return next((error["stack_trace"] for error in errors if "broken" in error["stack_trace"]), None)

    try:
        trace = wait_for(told, 60, "the import error")
        assert "maximum must be above minimum" in trace
        assert {"retrain_iris", "retrain_flight_delay", "score_flight_delay", "operate_model"} <= stack.dag_ids()
    finally:
        shutil.rmtree(folder)  # the stack is picked up again by what comes after these tests
