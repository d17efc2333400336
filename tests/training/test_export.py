"""Export: what converts is right, what does not convert, or converts wrongly, is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from include.errors import ConversionError
from include.inference import ModelSignature, Scorer
from include.spec import ModelSpec
from include.training.export import export_onnx
from include.training.onnx_parity import compare, find_collapsed_columns, find_divergent_step
from tests.builders import declare_model

ROWS = 3000


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return declare_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Weight, distance (some missing), carrier code, fragile; late or not."""
    random = np.random.default_rng(0)
    x = np.column_stack(
        [
            random.uniform(0, 30, ROWS),
            random.uniform(0, 3000, ROWS),
            random.integers(-1, 3, ROWS),
            random.random(ROWS) < 0.2,
        ]
    ).astype(np.float32)
    y = (x[:, 1] / 3000 + 0.3 * (x[:, 2] == 2) + random.uniform(0, 0.6, ROWS) > 0.9).astype(np.int64)
    x[random.random(ROWS) < 0.1, 1] = np.nan
    return x, y


def signature(spec: ModelSpec, task: str = "binary") -> ModelSignature:
    features = [
        f.model_copy(update={"categories": tuple(sorted(f.categories))}) if f.kind == "categorical" else f
        for f in spec.features
    ]
    return ModelSignature(
        model=spec.name,
        task=task,
        entity_key=spec.entity_key,
        event_time=spec.event_time,
        features=tuple(features),
        classes=spec.target.classes if task == "binary" else (),
    )


imputed = make_pipeline(SimpleImputer(), StandardScaler())


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=30),
        make_pipeline(SimpleImputer(), RandomForestClassifier(20, random_state=0)),
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        make_pipeline(
            make_column_transformer(
                (imputed, [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2]), ("passthrough", [3])
            ),
            LogisticRegression(),
        ),
        make_pipeline(SimpleImputer(), StandardScaler(), MLPClassifier((8,), max_iter=20, random_state=0)),
    ],
    ids=["gradient boosting", "forest", "logistic", "column transformer", "network"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_usual_pipeline_answers_in_onnx_as_in_scikit_learn(spec, rows, estimator) -> None:
    x, y = rows
    estimator.fit(x, y)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, x, spec.parity_tolerance)
    assert report.passed, report


@pytest.mark.parametrize(
    "estimator", [HistGradientBoostingRegressor(max_iter=30), make_pipeline(SimpleImputer(), Ridge())]
)
def test_a_regression_too(spec, rows, estimator) -> None:
    x, y = rows
    regression = spec.model_copy(update={"task": "regression"})
    estimator.fit(x, 100.0 * y + np.nan_to_num(x[:, 1]))
    scorer = Scorer(export_onnx(regression, estimator), signature(spec, "regression"))
    assert compare(scorer, estimator, x, spec.parity_tolerance).passed


def test_a_single_row_gets_the_bits_that_it_gets_among_others(spec, rows) -> None:
    x, y = rows
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(x, y)
    onnx = export_onnx(spec, estimator)
    report = compare(Scorer(onnx, signature(spec)), estimator, x, 1e-5)
    scorer = Scorer(onnx, signature(spec).model_copy(update={"single_row_exact": report.single_row_exact}))
    alone = np.concatenate([scorer.score(x[i : i + 1]) for i in range(200)])
    assert (alone == scorer.score(x)[:200]).all()


def test_a_tie_may_fall_either_way_but_a_label_may_not_change(spec, rows) -> None:
    x, y = rows
    forest = make_pipeline(SimpleImputer(), RandomForestClassifier(2, max_depth=3, random_state=0)).fit(x, y)
    scorer = Scorer(export_onnx(spec, forest), signature(spec))
    assert compare(scorer, forest, x, 1e-5).changed_labels == 0
    other = make_pipeline(SimpleImputer(), RandomForestClassifier(2, max_depth=3, random_state=1)).fit(x, y)
    report = compare(scorer, other, x, 1e-5)
    assert report.changed_labels > 0
    assert not report.passed


def test_an_imputer_with_indicator_is_refused_by_name(spec, rows) -> None:
    estimator = make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=2000)).fit(*rows)
    with pytest.raises(ConversionError, match=r"step simpleimputer \(SimpleImputer\) .*add_indicator=True"):
        export_onnx(spec, estimator)


def test_an_imputer_with_indicator_is_found_inside_a_column_transformer(spec, rows) -> None:
    inside = make_column_transformer((SimpleImputer(add_indicator=True), [0, 1]), remainder="passthrough")
    estimator = make_pipeline(inside, LogisticRegression(max_iter=2000)).fit(*rows)
    with pytest.raises(ConversionError, match=r"columntransformer\.simpleimputer \(SimpleImputer\)"):
        export_onnx(spec, estimator)


def with_indicator() -> Pipeline:
    return make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=2000))


@pytest.mark.parametrize(
    ("estimator", "step"),
    [
        (
            make_pipeline(make_union(SimpleImputer(), SimpleImputer(add_indicator=True)), GaussianNB()),
            "simpleimputer-2",
        ),
        (make_pipeline(KNNImputer(add_indicator=True), GaussianNB()), "knnimputer"),
        (CalibratedClassifierCV(with_indicator()), "calibrated_classifiers_[0].simpleimputer"),
        (GridSearchCV(with_indicator(), {"logisticregression__C": [1, 2]}), "best_estimator_.simpleimputer"),
        (StackingClassifier([("first", with_indicator())]), "estimators_[0].simpleimputer"),
        (BaggingClassifier(with_indicator(), 2), "estimator_.simpleimputer"),
        (VotingClassifier([("first", with_indicator())], voting="soft"), "estimators_[0].simpleimputer"),
    ],
    ids=["union", "neighbours", "calibrator", "search", "stack", "bag", "vote"],
)
def test_an_imputer_with_indicator_is_found_wherever_it_hides(spec, rows, estimator, step: str) -> None:
    with pytest.raises(ConversionError, match=rf"{re.escape(step)} \(\w+Imputer\) .*add_indicator=True"):
        export_onnx(spec, estimator.fit(*rows))


def test_a_template_that_a_search_has_not_chosen_is_no_reason_to_refuse(spec, rows) -> None:
    x, y = rows
    both = GridSearchCV(with_indicator(), {"simpleimputer__add_indicator": [False]}).fit(x, y)
    assert compare(Scorer(export_onnx(spec, both), signature(spec)), both, x, spec.parity_tolerance).passed


def test_native_categories_are_refused_by_name(spec, rows) -> None:
    x, y = rows
    estimator = HistGradientBoostingClassifier(max_iter=5, categorical_features=[2]).fit(np.abs(x), y)
    with pytest.raises(ConversionError, match=r"HistGradientBoostingClassifier .*native categorical_features"):
        export_onnx(spec, estimator)


def test_native_categories_are_found_in_a_search(spec, rows) -> None:
    x, y = rows
    native = HistGradientBoostingClassifier(max_iter=5, categorical_features=[2])
    search = GridSearchCV(native, {"max_iter": [3, 5]}).fit(np.abs(x), y)
    with pytest.raises(ConversionError, match=r"best_estimator_ \(Hist.*native categorical_features"):
        export_onnx(spec, search)


def test_large_numbers_that_single_precision_tells_apart_are_answered_right(spec, rows) -> None:
    x, y = rows
    days = x.copy()
    days[:, 0] = 1_700_000_000 + 86_400 * np.floor(x[:, 0] * 10)  # seconds since 1970, at midnight
    late = ((days[:, 0] > np.median(days[:, 0])) ^ (y == 1)).astype(np.int64)
    estimator = HistGradientBoostingClassifier(max_iter=50).fit(days, late)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, days, spec.parity_tolerance)
    assert report.passed, report


def test_neighbours_in_single_precision_are_not_told_apart_by_a_tree_and_parity_sees_it(spec, rows) -> None:
    """A threshold half-way between two neighbours is rounded onto one of them when it becomes ONNX."""
    seconds = rows[0].copy()
    seconds[:, 0] = (1_700_000_000 + np.arange(ROWS)).astype(np.float32)
    assert set(np.diff(np.unique(seconds[:, 0]))) == {128.0}, "seconds are merged to steps of two minutes"
    estimator = HistGradientBoostingClassifier(max_iter=50).fit(seconds, (np.arange(ROWS) // 128) % 2)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, seconds, spec.parity_tolerance)
    assert report.changed_labels > 0
    assert not report.passed
    assert find_divergent_step(estimator, seconds, spec.parity_tolerance) == "HistGradientBoostingClassifier"
    assert find_collapsed_columns(seconds) == [0]
    assert find_collapsed_columns(rows[0]) == []


def test_a_classifier_without_probabilities_is_refused(spec, rows) -> None:
    estimator = make_pipeline(SimpleImputer(), LinearSVC()).fit(*rows)
    with pytest.raises(ConversionError, match="has no predict_proba"):
        export_onnx(spec, estimator)


def test_a_step_that_does_not_convert_is_named(spec, rows) -> None:
    estimator = make_pipeline(SimpleImputer(), FunctionTransformer(np.tanh), LogisticRegression(max_iter=2000))
    with pytest.raises(ConversionError, match=r"step functiontransformer \(FunctionTransformer\)"):
        export_onnx(spec, estimator.fit(*rows))


def test_the_step_after_which_the_two_part_is_named(rows) -> None:
    x, y = rows
    estimator = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression()).fit(x, y)
    assert find_divergent_step(estimator, x, 1e-5) == "simpleimputer (SimpleImputer)"


def test_the_same_estimator_gives_the_same_bytes(spec: ModelSpec, rows, tmp_path: Path) -> None:
    fits = [HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(*rows) for _ in range(2)]
    assert export_onnx(spec, fits[0]) == export_onnx(spec, fits[1])
