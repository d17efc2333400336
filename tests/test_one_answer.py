"""A version has one answer: scikit-learn's, the score table's, V1's, V2's and a job's, also after a rollback.

The rows are those that training did not have: nulls in each feature that may be null, unknown categories, both ends of
each range, and ties.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from include import pipeline
from include.errors import ConversionError
from include.inference import RowEncoder, load_scorer
from include.records import ModelVersion, Period
from include.registry import open_artifact_store
from include.resources import Resources
from include.spec import DecisionThreshold, ModelSpec
from model_service.app import JOB_WORKER, create_app
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.registry import ModelRegistry
from tests.builders import SPEC, TODAY, declare_model, load_parcels, retrain

LATER = Period(start=TODAY.replace(hour=0), end=TODAY.replace(hour=0) + timedelta(days=1))
OPEN = SPEC.replace("maximum=100)", "maximum=100, nullable=True)").replace(
    'handle_unknown="error"', 'handle_unknown="ignore", nullable=True'
)


def forest(_: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(50, random_state=0)


def ten_trees(_: Any) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(10, random_state=0)


def boosting(_: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, early_stopping=False)


def native_categories(columns: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, early_stopping=False, categorical_features=columns.categorical)


def scaled_trees(columns: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    encoded = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), columns.numeric),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2), columns.categorical),
        remainder="passthrough",
    )
    return make_pipeline(encoded, DecisionTreeClassifier(max_depth=6, random_state=0))


def calibrated(columns: Any) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(scaled_trees(columns), method="isotonic", cv=3)


def tuned(columns: Any) -> Any:
    from sklearn.model_selection import TunedThresholdClassifierCV

    return TunedThresholdClassifierCV(forest(columns), response_method="predict_proba", cv=3, random_state=0)


def voted(columns: Any) -> Any:
    from sklearn.ensemble import VotingClassifier

    return VotingClassifier([("a", ten_trees(columns)), ("b", boosting(columns))], voting="soft", weights=[2, 1])


@pytest.fixture
def declared(tmp_path: Path, resources: Resources) -> Callable[..., ModelSpec]:
    """Parcels without a null in their training rows, and with rows of a later day that have everything."""

    def declare(estimator: Callable[[Any], Any], **more: Any) -> ModelSpec:
        spec = declare_model(resources.settings.home / "models", spec=OPEN)
        load_parcels(resources.engine)
        with resources.engine.begin() as connection:
            connection.execute(text("UPDATE source.parcels SET distance = 1500 WHERE distance IS NULL"))
            connection.execute(
                text(
                    "INSERT INTO source.parcels SELECT 'later-' || parcel_id, :start + n * interval '1 second',"
                    " CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN 0 WHEN 2 THEN 100 ELSE weight END,"
                    " CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 0 WHEN 2 THEN 5000 ELSE distance END,"
                    " CASE n % 11 WHEN 0 THEN NULL WHEN 1 THEN 'dog' WHEN 2 THEN '' ELSE carrier END, fragile, NULL"
                    " FROM (SELECT *, row_number() OVER (ORDER BY parcel_id) AS n FROM source.parcels LIMIT 600) AS p"
                ),
                {"start": LATER.start},
            )
        return spec.model_copy(update={"estimator": estimator, **more})

    return declare


@pytest.fixture
def client(resources: Resources) -> tuple[FlaskClient, ChampionWatcher]:
    registry = ModelRegistry()
    settings = resources.settings.model_copy(update={"models_dir": resources.settings.home / "models"})
    watcher = ChampionWatcher(
        registry, resources.engine, artifacts=open_artifact_store(settings), models_dir=settings.models_dir
    )
    return create_app(settings, registry, resources.engine).test_client(), watcher


Answers = tuple[np.ndarray, list[str]]


def wanted_of(
    version: ModelVersion, spec: ModelSpec, resources: Resources
) -> Callable[[list[dict[str, Any]]], Answers]:
    """Return scikit-learn's own answers to rows: of the joblib file that is in the artifact."""
    files = resources.artifacts.open(spec.name, version.version, version.artifact_digest)
    estimator = joblib.load(io.BytesIO(files.read("model.joblib")))
    encoder = RowEncoder(load_scorer(files).signature)

    def wanted(rows: list[dict[str, Any]]) -> Answers:
        matrix = encoder.encode(rows)
        probabilities = estimator.predict_proba(matrix)
        labels = estimator.predict(matrix)
        if spec.decision_threshold is not None:
            labels = (probabilities[:, 1] >= spec.decision_threshold.value).astype(int)
        return probabilities, [spec.target.classes[each] for each in labels]

    return wanted


def online(client: FlaskClient, rows: list[dict[str, Any]]) -> dict[str, Answers]:
    """Return the answers of V1 to single rows and to many, of V2, and of a job."""

    def read(predictions: list[Any]) -> Answers:
        numbers = [[each["probabilities"][label] for label in ("on_time", "late")] for each in predictions]
        return np.array(numbers), [each["label"] for each in predictions]

    def ask(features: Any, route: str = "predict") -> Any:
        answer = client.post(f"/v1/models/parcels/{route}", json={"features": features})
        assert answer.status_code in (200, 202), answer.get_data(as_text=True)
        return answer

    job = ask(rows, "predict_async")
    assert client.application.extensions[JOB_WORKER].run_once()
    done = client.get(f"{job.headers['Location']}/predictions").get_json()
    assert done["next_offset"] is None, done
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    kinds = {"weight": "FP64", "distance": "FP64", "carrier": "BYTES", "fragile": "BOOL"}
    body = {
        "inputs": [
            {"name": name, "datatype": kinds[name], "shape": [len(rows)], "data": values}
            for name, values in columns.items()
        ]
    }
    answer = client.post("/v2/models/parcels/infer", json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    outputs = {each["name"]: each["data"] for each in answer.get_json()["outputs"]}
    return {
        "V1, row by row": read([ask(row).get_json()["prediction"] for row in rows[:100]]),
        "V1": read(ask(rows).get_json()["predictions"]),
        "V2": (np.array(outputs["probabilities"]).reshape(-1, 2), outputs["label"]),
        "a job": read(done["predictions"]),
    }


def published(spec: ModelSpec, resources: Resources) -> dict[str, tuple[list[float], str]]:
    with resources.engine.connect() as connection:
        columns = "entity_key, p_on_time, p_late, predicted_label"
        query = text(f"SELECT {columns} FROM scores.{spec.name} WHERE partition_start = :at")
        rows = connection.execute(query, {"at": LATER.start})
        return {key: ([on_time, late], label) for key, on_time, late, label in rows}


@pytest.mark.parametrize(
    ("estimator", "more"),
    [
        (forest, {}),
        (ten_trees, {}),
        (boosting, {}),
        (native_categories, {}),
        (scaled_trees, {}),
        (calibrated, {}),
        (tuned, {}),
        (voted, {}),
        (forest, {"decision_threshold": DecisionThreshold(value=0.3)}),
    ],
    ids=["forest", "ten_trees", "boosting", "native", "scaled", "calibrated", "tuned", "voted", "threshold"],
)
def test_every_way_to_ask_gets_the_answer_of_scikit_learn(
    declared: Callable[..., ModelSpec], resources: Resources, client: tuple[FlaskClient, ChampionWatcher],
    estimator: Callable[[Any], Any], more: dict[str, Any],
) -> None:  # fmt: skip
    spec = declared(estimator, **more)
    first = retrain(spec, "first", resources)
    pipeline.promote_candidate(spec, first, "tests", resources)
    second = retrain(
        spec.model_copy(update={"estimator": boosting, "seed": 1, "decision_threshold": None}), "second", resources
    )
    assert second.decision.accepted, second.decision.reasons
    pipeline.promote_candidate(spec, second, "tests", resources)
    pipeline.move_champion(spec.name, first.version, "tests", "the first one again", resources)
    with resources.features.read(spec.query, LATER, labelled=False) as batches:
        table = batches.read_all()
    keys, rows = table.column("parcel_id").to_pylist(), table.select([each.name for each in spec.features]).to_pylist()
    probabilities, labels = wanted_of(first, spec, resources)(rows)
    pipeline.score(spec, "score", LATER, resources)
    stored = published(spec, resources)
    assert [stored[key][1] for key in keys] == labels
    np.testing.assert_allclose([stored[key][0] for key in keys], probabilities, atol=1e-12)
    app, watcher = client
    watcher.poll_once()
    for way, (found, named) in online(app, rows).items():
        assert named == labels[: len(named)], way
        np.testing.assert_allclose(found, probabilities[: len(found)], atol=1e-12, err_msg=way)
        assert ((found >= 0) & (found <= 1)).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-15, rtol=0)


def without_nulls(_: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=5)


def strict_categories(columns: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encoded = make_column_transformer((OneHotEncoder(), columns.categorical))
    return make_pipeline(encoded, LogisticRegression())


@pytest.mark.parametrize(
    ("estimator", "step", "reason", "advice"),
    [
        (without_nulls, "GradientBoostingClassifier", "Input X contains NaN", "nullable=False for 'weight'"),
        (strict_categories, "columntransformer (ColumnTransformer)", "Found unknown", "nullable=False for 'carrier'"),
    ],
)
def test_a_declaration_that_lets_in_what_the_estimator_refuses_is_refused(
    declared: Callable[..., ModelSpec], resources: Resources, estimator: Callable[[Any], Any],
    step: str, reason: str, advice: str,
) -> None:  # fmt: skip
    spec = declared(estimator)
    with pytest.raises(ConversionError) as refused:
        retrain(spec, "first", resources)
    for part in (f"step {step} cannot be served", "spec.py lets in (a null in one feature)", reason, advice):
        assert part in str(refused.value)
    assert not resources.ledger.versions(spec.name)
