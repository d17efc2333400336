"""Classes of any text, of booleans and of integers, from the source to the score table and the online response."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from include import pipeline
from include.errors import SpecError, ValidationFailedError
from include.records import Period
from include.registry import open_artifact_store
from include.resources import Resources
from include.score_table import answer_columns
from include.scoring import ensure_score_table
from include.spec import ModelSpec, class_columns
from model_service.app import create_app
from model_service.db.score_repository import newest_score
from model_service.http.responses import ClassPrediction
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.registry import ModelRegistry
from tests.builders import QUERY, SPEC, TODAY, declare_model, load_parcels, retrain

DAY = Period(start=TODAY.replace(hour=0) - timedelta(days=1), end=TODAY.replace(hour=0))
ROW = {"weight": 3.5, "distance": 1200.0, "carrier": "ant", "fragile": True}
CASES = {
    # what features.sql makes of the outcome; what Target declares; the labels
    "text": (
        "CASE outcome WHEN 'late' THEN 'Zu spät: 50% \"später\" {x} :y; --' ELSE 'On time, it''s' END",
        """, classes=("On time, it's", 'Zu spät: 50% "später" {{x}} :y; --')""",
        ("On time, it's", 'Zu spät: 50% "später" {x} :y; --'),
    ),
    "same column": (
        "CASE outcome WHEN 'late' THEN 'A b' ELSE 'a-b' END",
        ', classes=("A b", "a-b")',
        ("A b", "a-b"),
    ),
    "boolean": ("outcome = 'late'", "", ("false", "true")),
    "integer": ("(outcome = 'late')::int", ', classes=("0", "1")', ("0", "1")),
}
label = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=60)
labels = st.lists(label, min_size=2, max_size=12, unique=True)


@given(labels, st.randoms())
def test_each_class_has_a_column_of_its_own_whatever_their_order(classes: list[str], random: Any) -> None:
    columns = class_columns(classes)
    assert list(columns) == classes
    assert len(set(columns.values())) == len(classes)
    for name in columns.values():
        assert name.startswith("p_")
        assert name.replace("_", "a").isalnum()
        assert name == name.lower()
        assert len(name.encode()) <= 63, "PostgreSQL's longest name"
    shuffled = random.sample(classes, len(classes))
    assert class_columns(shuffled) == columns


@given(st.lists(st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True), min_size=2, unique=True))
def test_a_label_that_is_a_name_in_sql_is_its_column(classes: list[str]) -> None:
    assert answer_columns(classes) == tuple(f"p_{label}" for label in classes)


@pytest.mark.parametrize("label", ["", "a\nb", "\x00", "x" * 101, "\ud800"])
def test_a_label_that_cannot_be_shown_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(SpecError, match="a class label of 1 to 100 printable characters"):
        declare_model(tmp_path, spec=SPEC.replace('"late")', f"{label!r})"))


@pytest.fixture
def declared(resources: Resources) -> Callable[[str], ModelSpec]:
    def declare(case: str) -> ModelSpec:
        load_parcels(resources.engine)
        expression, classes, _ = CASES[case]
        return declare_model(
            resources.settings.home / "models",
            spec=SPEC.replace(', classes=("on_time", "late")', classes.replace("{{", "{").replace("}}", "}")),
            query=QUERY.replace("outcome", f"{expression} AS outcome", 1),
        )

    return declare


@pytest.mark.parametrize("case", CASES)
def test_labels_are_the_same_in_the_table_and_online(
    case: str, declared: Callable[[str], ModelSpec], resources: Resources
) -> None:
    spec, expected = declared(case), CASES[case][2]
    assert spec.target.classes == expected
    pipeline.promote_candidate(spec, retrain(spec, "run", resources), "somebody", resources)
    pipeline.score(spec, "run", DAY, resources)
    with resources.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM scores.parcels")).mappings().all()
        comments = dict(
            connection.execute(
                text(
                    "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
                    "WHERE attrelid = 'scores.parcels'::regclass AND attname LIKE 'p\\_%'"
                )
            ).all()
        )
    columns = class_columns(expected)
    assert comments == {column: f"Probability of class {label}" for label, column in columns.items()}
    settings = resources.settings.model_copy(update={"models_dir": resources.settings.home / "models"})
    registry = ModelRegistry()
    ChampionWatcher(
        registry, resources.engine, artifacts=open_artifact_store(settings), models_dir=settings.models_dir
    ).poll_once()
    client = create_app(settings, registry, resources.engine).test_client()

    for row in rows[:5]:
        found = client.get(f"/v1/models/parcels/scores/{row['entity_key']}").get_json()["prediction"]
        assert found["label"] == row["predicted_label"]
        assert found["probabilities"] == {label: row[column] for label, column in columns.items()}
        assert found["class_index"] == expected.index(row["predicted_label"])
    online = client.post("/v1/models/parcels/predict", json={"features": ROW}).get_json()["prediction"]
    assert tuple(online["probabilities"]) == expected
    assert online["label"] == max(expected, key=lambda label: online["probabilities"][label])
    inputs = [
        {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
        for name, kind in (("weight", "FP64"), ("distance", "FP64"), ("carrier", "BYTES"), ("fragile", "BOOL"))
    ]
    v2 = client.post("/v2/models/parcels/infer", json={"inputs": inputs}).get_json()
    assert {each["name"]: each["data"] for each in v2["outputs"]}["label"] == [online["label"]]
    assert client.get("/openapi.json").status_code == 200


def test_a_boolean_column_is_no_target_of_other_classes(
    declared: Callable[[str], ModelSpec], resources: Resources
) -> None:
    spec = declared("boolean")
    other = spec.model_copy(update={"target": spec.target.model_copy(update={"classes": ("no", "yes")})})
    with pytest.raises(ValidationFailedError, match=r"column 'outcome'.*boolean"):
        pipeline.validate_training_data(other, "run", TODAY, resources)


def test_a_row_with_a_former_label_of_the_same_column_is_found_by_its_own_label(
    resources: Resources, tmp_path: Path
) -> None:
    spec = declare_model(tmp_path, spec=SPEC.replace('"on_time"', '"On time"'))
    ensure_score_table(resources.engine, spec)
    with resources.engine.begin() as connection:
        connection.execute(text("CREATE TABLE scores.first PARTITION OF scores.parcels DEFAULT"))
        connection.execute(
            text("INSERT INTO scores.parcels VALUES (:start, 'a', :start, 0.75, 0.25, 'On time', 1, :start)"),
            {"start": DAY.start},
        )
        found = newest_score(connection, "parcels", "a", ("late", "on_time"))
    assert found is not None
    assert found.prediction == ClassPrediction("On time", 1, {"late": 0.25, "On time": 0.75})
