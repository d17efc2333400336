"""Export: what converts is right, what does not convert, or converts wrongly, is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
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
from sklearn.preprocessing import (
    FunctionTransformer,
    Normalizer,
    OneHotEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from include.errors import ConversionError
from include.inference import ModelSignature, Scorer
from include.records import ParityOfRows
from include.spec import ModelSpec
from include.training.export import export_onnx
from include.training.onnx_parity import Subject, batches_agree, compare_holdout, find_divergent_step, single_rows_agree
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


def compare(scorer: Scorer, estimator: object, matrix: np.ndarray, tolerance: float) -> ParityOfRows:
    return compare_holdout(Subject("parcels", estimator, scorer, tolerance, matrix))


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
    assert (report.changed_labels, report.largest_difference <= spec.parity_tolerance) == (0, True), report


@pytest.mark.parametrize(
    "estimator", [HistGradientBoostingRegressor(max_iter=30), make_pipeline(SimpleImputer(), Ridge())]
)
def test_a_regression_too(spec, rows, estimator) -> None:
    x, y = rows
    regression = spec.model_copy(update={"task": "regression"})
    estimator.fit(x, 100.0 * y + np.nan_to_num(x[:, 1]))
    scorer = Scorer(export_onnx(regression, estimator), signature(spec, "regression"))
    assert compare(scorer, estimator, x, spec.parity_tolerance).largest_difference <= spec.parity_tolerance


def test_a_single_row_gets_the_bits_that_it_gets_among_others(spec, rows) -> None:
    x, y = rows
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(x, y)
    onnx = export_onnx(spec, estimator)
    scorer = Scorer(onnx, signature(spec))
    assert single_rows_agree(scorer, x)
    assert batches_agree(scorer, x)
    alone = np.concatenate([scorer.score(x[i : i + 1]) for i in range(200)])
    assert (alone == scorer.score(x)[:200]).all()


def test_the_labels_of_ties_are_those_of_scikit_learn(spec, rows) -> None:
    """Fifty trees often split 25 to 25; in single precision, 25 times 1/50 is not a half."""
    x, y = rows
    noisy = np.where(np.random.default_rng(1).random(ROWS) < 0.3, 1 - y, y)
    forest = RandomForestClassifier(50, random_state=0).fit(x[:1000], noisy[:1000])
    scorer = Scorer(export_onnx(spec, forest), signature(spec))
    wanted = forest.predict_proba(x)
    assert (wanted[:, 0] == wanted[:, 1]).sum() > 10
    np.testing.assert_array_equal(scorer.score(x), wanted)
    np.testing.assert_array_equal(scorer.labels(scorer.score(x)), forest.predict(x))


def test_a_graph_of_another_estimator_is_seen(spec, rows) -> None:
    x, y = rows
    forest, other = (RandomForestClassifier(2, max_depth=3, random_state=seed).fit(x, y) for seed in (0, 1))
    report = compare(Scorer(export_onnx(spec, forest), signature(spec)), other, x, 1e-5)
    assert report.changed_labels > 0
    assert report.largest_difference > 1e-5


def with_indicator() -> Pipeline:
    return make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=2000))


@pytest.mark.parametrize(
    "estimator",
    [
        with_indicator(),
        make_pipeline(make_union(SimpleImputer(), SimpleImputer(add_indicator=True)), GaussianNB()),
        CalibratedClassifierCV(with_indicator()),
        GridSearchCV(with_indicator(), {"logisticregression__C": [1, 2]}),
        StackingClassifier([("first", with_indicator())]),
        BaggingClassifier(with_indicator(), 2),
        VotingClassifier([("first", with_indicator())], voting="soft"),
    ],
    ids=["pipeline", "union", "calibrator", "search", "stack", "bag", "vote"],
)
def test_what_skl2onnx_converts_wrongly_is_converted_right(spec, rows, estimator) -> None:
    """Indicators of nulls, calibration, and estimators inside others."""
    x, y = rows
    estimator.fit(x, y)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, x, spec.parity_tolerance)
    assert (report.changed_labels, report.largest_difference <= spec.parity_tolerance) == (0, True), report


def test_a_step_is_named_wherever_it_hides(spec, rows) -> None:
    nearest = make_pipeline(KNNImputer(), GaussianNB())
    for estimator, step in (
        (nearest, "knnimputer (KNNImputer)"),
        (VotingClassifier([("first", nearest)], voting="soft"), "first.knnimputer (KNNImputer)"),
        (CalibratedClassifierCV(nearest), "calibrated_classifiers_[0].knnimputer (KNNImputer)"),
    ):
        with pytest.raises(ConversionError, match=rf"step {re.escape(step)} .*compares each row"):
            export_onnx(spec, estimator.fit(*rows))


@pytest.mark.parametrize("missing", [False, True], ids=["no nulls in training", "nulls in training"])
def test_native_categories_go_where_scikit_learn_sends_them(spec, rows, missing: bool) -> None:
    """A known category, an unknown one, and none."""
    x, y = rows
    categories = x.copy()
    categories[:, 2] = np.where(x[:, 2] < 0, np.nan if missing else 0, x[:, 2])
    estimator = HistGradientBoostingClassifier(max_iter=20, categorical_features=[2]).fit(categories, y)
    asked = categories.copy()
    asked[:300, 2], asked[300:600, 2] = np.nan, 77.0
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, asked, 1e-12)
    assert (report.changed_labels, report.largest_difference < 1e-12) == (0, True), report


def test_large_numbers_that_single_precision_tells_apart_are_answered_right(spec, rows) -> None:
    x, y = rows
    days = x.copy()
    days[:, 0] = 1_700_000_000 + 86_400 * np.floor(x[:, 0] * 10)  # seconds since 1970, at midnight
    late = ((days[:, 0] > np.median(days[:, 0])) ^ (y == 1)).astype(np.int64)
    estimator = HistGradientBoostingClassifier(max_iter=50).fit(days, late)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, days, spec.parity_tolerance)
    assert (report.changed_labels, report.largest_difference < 1e-12) == (0, True), report


def test_neighbours_in_single_precision_are_told_apart_by_a_tree(spec, rows) -> None:
    """Thresholds stay in double precision, half-way between the two."""
    seconds = rows[0].copy()
    seconds[:, 0] = (1_700_000_000 + np.arange(ROWS)).astype(np.float32)
    assert set(np.diff(np.unique(seconds[:, 0]))) == {128.0}, "seconds are merged to steps of two minutes"
    estimator = HistGradientBoostingClassifier(max_iter=50).fit(seconds, (np.arange(ROWS) // 128) % 2)
    report = compare(Scorer(export_onnx(spec, estimator), signature(spec)), estimator, seconds, spec.parity_tolerance)
    assert (report.changed_labels, report.largest_difference < 1e-12) == (0, True), report


def test_a_classifier_without_probabilities_is_refused(spec, rows) -> None:
    estimator = make_pipeline(SimpleImputer(), LinearSVC()).fit(*rows)
    with pytest.raises(ConversionError, match="has no predict_proba"):
        export_onnx(spec, estimator)


def test_a_step_that_does_not_convert_is_named(spec, rows) -> None:
    estimator = make_pipeline(SimpleImputer(), FunctionTransformer(np.tanh), LogisticRegression(max_iter=2000))
    with pytest.raises(ConversionError, match=r"step functiontransformer \(FunctionTransformer\)"):
        export_onnx(spec, estimator.fit(*rows))


@pytest.mark.parametrize(
    "step", [PCA(2), TruncatedSVD(2), Normalizer(), PowerTransformer(), FunctionTransformer(np.log1p)], ids=repr
)
def test_a_threshold_on_what_has_no_reproducible_last_bits_is_refused_and_exact_in_double(spec, rows, step) -> None:
    x, y = rows
    for last in (HistGradientBoostingClassifier(max_iter=20), RandomForestClassifier(10, random_state=0)):
        single = make_pipeline(SimpleImputer(), FunctionTransformer(np.abs), step, last).fit(x, y)
        with pytest.raises(ConversionError, match=r"not reproducible. .* FunctionTransformer\(np.float64\)"):
            export_onnx(spec, single)
        first = [FunctionTransformer(np.float64), SimpleImputer(), FunctionTransformer(np.abs), step]
        double = make_pipeline(*first, FunctionTransformer(np.float32), last).fit(x, y)
        found = compare(Scorer(export_onnx(spec, double), signature(spec)), double, x, 1e-12)
        assert (found.changed_labels, found.largest_difference < 1e-12) == (0, True), found
    last_linear = LogisticRegression(max_iter=2000)
    linear = make_pipeline(SimpleImputer(), FunctionTransformer(np.abs), step, last_linear).fit(x, y)
    assert compare(Scorer(export_onnx(spec, linear), signature(spec)), linear, x, 1e-5).changed_labels == 0


def test_a_state_that_a_converter_does_not_know_is_a_refusal_of_the_step(spec, rows) -> None:
    """Quantiles of a column of zeros and ones: knots that repeat, on which no polynomial can be told."""
    x, y = rows
    splines = SplineTransformer(knots="quantile", n_knots=8)
    estimator = make_pipeline(SimpleImputer(), FunctionTransformer(np.abs), splines, LogisticRegression(max_iter=2000))
    with pytest.raises(ConversionError, match=r"step splinetransformer \(SplineTransformer\) .*its converter fails"):
        export_onnx(spec, estimator.fit(x, y))


class Shifted(StandardScaler):
    """What no converter knows: a scaler with a transform of its own."""

    def transform(self, X, copy=None):  # noqa: N803  # scikit-learn's name
        return super().transform(X, copy) + 1


def test_the_step_after_which_the_two_part_is_named(rows) -> None:
    x, y = rows
    for scaler, named in (
        (StandardScaler(), "logisticregression (LogisticRegression)"),
        (Shifted(), "shifted (Shifted)"),
    ):
        estimator = make_pipeline(SimpleImputer(), scaler, LogisticRegression()).fit(x, y)
        assert find_divergent_step(estimator, x, 1e-5) == named


def test_a_class_of_ones_own_counts_as_the_class_whose_methods_it_has(spec, rows) -> None:
    class Named(RandomForestClassifier):
        """A forest by another name."""

    class Turned(RandomForestClassifier):
        def predict_proba(self, X):  # noqa: N803  # scikit-learn's name
            return super().predict_proba(X)[:, ::-1]

    x, y = rows
    forest = Named(5, random_state=0).fit(x, y)
    assert compare(Scorer(export_onnx(spec, forest), signature(spec)), forest, x, 1e-12).changed_labels == 0
    with pytest.raises(ConversionError, match="step Turned cannot be served"):
        export_onnx(spec, Turned(5).fit(x, y))


def test_the_same_estimator_gives_the_same_bytes(spec: ModelSpec, rows, tmp_path: Path) -> None:
    fits = [HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(*rows) for _ in range(2)]
    assert export_onnx(spec, fits[0]) == export_onnx(spec, fits[1])
