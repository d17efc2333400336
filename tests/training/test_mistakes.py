"""Each ordinary mistake in a declaration or its data gets one sentence: model, step, features, the way out."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import all_estimators

from include import pipeline
from include.errors import (
    EstimatorError,
    NotEnoughDataError,
    PrecisionError,
    QueryError,
    SluiceError,
    TargetError,
    ValidationFailedError,
    permanent_errors,
)
from include.inference import Scorer
from include.records import FittedCandidate
from include.resources import Resources
from include.spec import Categorical, DecisionThreshold, ModelSpec, Target
from include.training import fit_candidate, read_baseline, read_training_data
from include.training.data import MAX_TARGET_SPACING, require_target_precision
from include.training.export import export_onnx
from include.training.fit import fit, fit_baseline
from include.training.onnx_parity import expected_scores
from tests.builders import QUERY, SPEC, TODAY, declare_model, load_parcels
from tests.training.parcels import COUNT, PER_DAY, rows, snapshot

NULL = pa.array([None] * COUNT, pa.float64())


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return declare_model(tmp_path / "models")


@pytest.fixture
def regression(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"task": "regression", "target": Target(column="outcome")})


def train(spec: ModelSpec, estimator: Any, folder: Path, **columns: object) -> FittedCandidate:
    build = estimator if callable(estimator) and not hasattr(estimator, "fit") else lambda _: estimator
    declared = spec.model_copy(update={"estimator": build})
    return fit_candidate(declared, "run 1", snapshot(declared, rows(**columns), folder / "s"), folder / "run")


def refused(spec: ModelSpec, estimator: Any, folder: Path, **columns: object) -> str:
    """Train, and return the sentence of the error; Airflow does not retry it."""
    with pytest.raises(SluiceError) as caught:
        train(spec, estimator, folder, **columns)
    assert not caught.value.retryable
    assert str(caught.value).startswith("model 'parcels': ")
    return str(caught.value)


def imputed(estimator: Any) -> Any:
    return make_pipeline(SimpleImputer(), estimator)


# -- what the function of the declaration returns --------------------------------------------------


@pytest.mark.parametrize(
    ("build", "found", "advice"),
    [
        (lambda _: None, "found None", "Does it lack a `return`?"),
        (lambda _: RandomForestClassifier, "found the class RandomForestClassifier", "return RandomForestClassifier()"),
        (lambda _: make_pipeline, "found the function make_pipeline", "Call it, and return its result"),
        (lambda _: [SimpleImputer(), LogisticRegression()], "found list, which has no fit", "make_pipeline(...)"),
        (lambda _: 1 / 0, "fails: ZeroDivisionError: division by zero", "Correct it in spec.py"),
        (lambda columns: columns.index("colour"), "found 'colour'", "features: weight, distance, carrier, fragile"),
        (lambda columns: columns.names.index("x"), "fails: ValueError", "features are: weight, distance, carrier"),
        (lambda _: __import__("no_such_package"), "No module named 'no_such_package'", "Install the package"),
    ],
    ids=["none", "class", "function", "list", "raises", "unknown feature", "unknown name", "missing package"],
)
def test_what_is_no_estimator_is_refused_before_rows_are_read(
    spec: ModelSpec, tmp_path: Path, build: Callable[..., Any], found: str, advice: str
) -> None:
    sentence = refused(spec, build, tmp_path)
    assert "function <lambda> in spec.py" in sentence
    assert found in sentence
    assert advice in sentence


def test_an_error_in_spec_py_has_its_line(tmp_path: Path) -> None:
    text = SPEC.replace("    return Hist", '    columns.index("colour")\n    return Hist')
    line = text.splitlines().index('    columns.index("colour")') + 1
    spec = declare_model(tmp_path / "models", spec=text)
    with pytest.raises(EstimatorError, match=rf"function build in spec.py, line {line}, fails: ValueError"):
        fit_candidate(spec, "run 1", snapshot(spec, rows(), tmp_path / "s"), tmp_path / "run")


# -- an estimator that does not fit the task -------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "step", "advice"),
    [
        (imputed(LinearSVC()), "step linearsvc (LinearSVC)", "LogisticRegression()"),
        (imputed(SGDClassifier()), "step sgdclassifier (SGDClassifier)", "SGDClassifier(loss='log_loss')"),
        (SVC(), "step SVC", "CalibratedClassifierCV(SVC())"),
        (
            imputed(VotingClassifier([("one", LogisticRegression())])),
            "step votingclassifier (VotingClassifier)",
            "voting='soft'",
        ),
        (
            GridSearchCV(imputed(LinearSVC()), {"linearsvc__C": [1, 2]}),
            "step estimator.linearsvc (LinearSVC)",
            "CalibratedClassifierCV",
        ),
    ],
    ids=["linear SVC", "SGD", "SVC", "vote", "search"],
)
def test_a_classifier_needs_probabilities(
    spec: ModelSpec, tmp_path: Path, estimator: Any, step: str, advice: str
) -> None:
    sentence = refused(spec, estimator, tmp_path)
    assert f"{step} has no predict_proba" in sentence
    assert advice in sentence


@pytest.mark.parametrize(
    "estimator",
    [
        imputed(StackingClassifier([("one", LogisticRegression())])),
        GridSearchCV(imputed(LinearSVC()), {"linearsvc": [LogisticRegression()]}),
        imputed(CalibratedClassifierCV(LinearSVC())),
    ],
    ids=["stack", "search", "calibrated"],
)
def test_probabilities_that_come_only_with_the_fit_are_waited_for(
    spec: ModelSpec, tmp_path: Path, estimator: Any
) -> None:
    assert train(spec, estimator, tmp_path).digests


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (LinearRegression(), "step LinearRegression is a regressor, and the task is binary. Use LogisticRegression"),
        (imputed(RandomForestRegressor()), "is a regressor, and the task is binary. Use RandomForestClassifier"),
        (imputed(KMeans(2)), "step kmeans (KMeans) is a clusterer, which learns no target"),
        (IsolationForest(), "step IsolationForest is an outlier detector, which learns no target"),
        (imputed(StandardScaler()), "step standardscaler (StandardScaler) predicts nothing: it has no predict"),
        (make_column_transformer((SimpleImputer(), [0])), "step ColumnTransformer predicts nothing"),
        (imputed(SelectFromModel(LogisticRegression())), "step selectfrommodel (SelectFromModel) has no predict_proba"),
    ],
)
def test_what_does_not_predict_classes_is_refused(
    spec: ModelSpec, tmp_path: Path, estimator: Any, sentence: str
) -> None:
    assert sentence in refused(spec, estimator, tmp_path)


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (RandomForestClassifier(), "is a classifier, and the task is regression. Use RandomForestRegressor"),
        (imputed(LogisticRegression()), "is a classifier, and the task is regression. Use Ridge"),
        (imputed(StandardScaler()), "predicts nothing: it has no predict, and the task is regression"),
    ],
)
def test_what_does_not_predict_values_is_refused(
    regression: ModelSpec, tmp_path: Path, estimator: Any, sentence: str
) -> None:
    assert sentence in refused(regression, estimator, tmp_path, outcome=numbers())


# -- nulls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "step"),
    [
        (LogisticRegression(), "step LogisticRegression"),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "step kneighborsclassifier (KNeighborsClassifier)"),
        (GradientBoostingClassifier(), "step GradientBoostingClassifier"),
        (GridSearchCV(LogisticRegression(), {"C": [1, 2]}), "step estimator (LogisticRegression)"),
        (
            VotingClassifier([("tree", RandomForestClassifier(3)), ("line", LogisticRegression())], voting="soft"),
            "step line (LogisticRegression)",
        ),
    ],
    ids=["bare", "scaled", "boosting", "search", "vote"],
)
def test_nulls_for_a_step_that_takes_none_are_named_with_their_features(
    spec: ModelSpec, tmp_path: Path, estimator: Any, step: str
) -> None:
    sentence = refused(spec, estimator, tmp_path)
    assert f"{step} takes no nulls, and these features have them in the training rows: distance (23 of 160)" in sentence
    assert "SimpleImputer" in sentence
    assert "nullable=False" in sentence


def test_a_feature_that_is_imputed_on_its_way_is_not_named(spec: ModelSpec, tmp_path: Path) -> None:
    estimator = make_pipeline(
        make_column_transformer((SimpleImputer(), [0]), remainder="passthrough"), LogisticRegression()
    )
    weight = [None if n % 5 == 0 else float(n % 30) for n in range(COUNT)]
    sentence = refused(spec, estimator, tmp_path, weight=weight)
    assert "in the training rows: distance (23 of 160)." in sentence
    assert "weight" not in sentence


@pytest.mark.parametrize("estimator", [HistGradientBoostingClassifier(max_iter=3), GradientBoostingClassifier()])
def test_a_feature_that_is_always_null_is_named(spec: ModelSpec, tmp_path: Path, estimator: Any) -> None:
    sentence = refused(spec, estimator, tmp_path, distance=NULL)
    assert "distance is null in every one of them" in sentence
    assert "remove the feature from spec.py" in sentence


def test_an_error_that_has_another_cause_does_not_name_the_null_feature(spec: ModelSpec, tmp_path: Path) -> None:
    sentence = refused(spec, LogisticRegression(C=-1), tmp_path, distance=NULL)
    assert "InvalidParameterError: The 'C' parameter" in sentence
    assert "distance" not in sentence


def test_the_baseline_is_trained_on_features_that_are_always_null(spec: ModelSpec, tmp_path: Path) -> None:
    fragile = pa.array([None] * COUNT, pa.bool_())
    fitted = train(spec, RandomForestClassifier(3), tmp_path, distance=NULL, weight=NULL, fragile=fragile)
    data = read_training_data(spec, fitted.snapshot)
    assert expected_scores(read_baseline(fitted), data.x_holdout).shape == (len(data.x_holdout), 2)


def test_the_baseline_sees_every_class_however_rare(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.training.fit.BASELINE_ROWS", 20)
    outcome = ["late" if n == 45 else "on_time" for n in range(COUNT)]
    fitted = train(spec, imputed(LogisticRegression()), tmp_path, outcome=outcome)
    assert read_baseline(fitted).classes_.tolist() == [0, 1]


def test_categories_to_learn_of_which_there_are_none(spec: ModelSpec, tmp_path: Path) -> None:
    carrier = Categorical(name="carrier", nullable=True)
    learning = spec.model_copy(update={"features": (spec.features[0], carrier)})
    with pytest.raises(NotEnoughDataError, match=r"'carrier': expected categories to learn .* null in every row"):
        train(learning, HistGradientBoostingClassifier(), tmp_path, carrier=pa.array([None] * COUNT, pa.string()))


# -- an estimator that fails in its fit ------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (imputed(LogisticRegression(C=-1)), "step logisticregression (LogisticRegression) cannot be trained on the"),
        (make_pipeline(SimpleImputer(), PCA(40), LogisticRegression()), "step pca (PCA) cannot be trained"),
        (make_pipeline(make_column_transformer((SimpleImputer(), [9])), LogisticRegression()), "It is given 4: weight"),
    ],
)
def test_an_error_of_fit_is_told_with_its_step_and_its_first_line(
    spec: ModelSpec, tmp_path: Path, estimator: Any, sentence: str
) -> None:
    told = refused(spec, estimator, tmp_path)
    assert sentence in told
    assert "\n" not in told


def test_a_class_with_too_few_rows_for_a_split_of_the_estimator_s_own(spec: ModelSpec, tmp_path: Path) -> None:
    outcome = ["late" if n in (60, 190) else "on_time" for n in range(COUNT)]
    sentence = refused(spec, HistGradientBoostingClassifier(early_stopping=True), tmp_path, outcome=outcome)
    assert "A class has too few training rows" in sentence


def test_the_fit_on_fewer_rows_that_chooses_the_threshold_is_named(spec: ModelSpec, tmp_path: Path) -> None:
    spec = spec.model_copy(update={"decision_threshold": DecisionThreshold(maximize="f1")})
    late = pa.array([None if n < 32 * PER_DAY else float(n) for n in range(COUNT)], pa.float64())
    sentence = refused(spec, HistGradientBoostingClassifier(max_iter=3), tmp_path, distance=late)
    assert "the first four fifths of the training rows" in sentence
    assert "distance is null in every one of them" in sentence


class LostConnection(RandomForestClassifier):
    def fit(self, *_: Any) -> LostConnection:
        raise ConnectionResetError("the worker does not answer")


def test_what_a_retry_can_mend_stays_what_it_is(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        train(spec, LostConnection(), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("nulls", ["some", "all"])
@pytest.mark.parametrize(("kind", "inner"), [("classifier", LogisticRegression()), ("regressor", Ridge())])
def test_no_estimator_of_scikit_learn_answers_nulls_with_a_traceback(
    spec: ModelSpec, regression: ModelSpec, tmp_path: Path, kind: str, inner: Any, nulls: str
) -> None:
    columns: dict[str, object] = {"distance": NULL} if nulls == "all" else {}
    declared = spec
    if kind == "regressor":
        declared, columns = regression, columns | {"outcome": numbers()}
    data = read_training_data(declared, snapshot(declared, rows(**columns), tmp_path))
    sentences = {}
    for name, of_class in all_estimators(kind):
        needed = [each for each in ("estimator", "estimators") if each in inspect.signature(of_class).parameters]
        given = {each: inner if each == "estimator" else [("one", inner)] for each in needed}
        estimator = of_class(**given)
        try:
            fit(declared.model_copy(update={"estimator": lambda _, built=estimator: built}), data)
        except EstimatorError as error:
            sentences[name] = str(error)
    found = "distance is null in every one of them" if nulls == "all" else "distance (23 of 160)"
    others = {name for name, sentence in sentences.items() if found not in sentence}
    assert len(sentences) > 30
    assert others <= NOT_OF_NULLS | {name for name in sentences if "has no predict_proba" in sentences[name]}


# These refuse before they meet a null: two targets are wanted, or an estimator that is more than a default.
NOT_OF_NULLS = {"MultiOutputClassifier", "MultiOutputRegressor", "ClassifierChain", "RegressorChain", "RANSACRegressor"}


# -- targets ---------------------------------------------------------------------------------------


def numbers(**replaced: float) -> list[float]:
    """Values of a target; ``row_7=...`` replaces one."""
    found = [float(n % 11) for n in range(COUNT)]
    for name, value in replaced.items():
        found[int(name.removeprefix("row_"))] = value
    return found


@pytest.mark.parametrize(("row", "part"), [(0, "training"), (COUNT - 1, "holdout")])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_target_that_is_no_finite_number(
    regression: ModelSpec, tmp_path: Path, value: float, row: int, part: str
) -> None:
    with pytest.raises(
        TargetError, match=rf"target 'outcome' in the {part} rows: .*(NaN|infinity) in 1\b.*Return null"
    ) as caught:
        train(regression, Ridge(), tmp_path, outcome=numbers(**{f"row_{row}": value}))
    assert not caught.value.retryable


def test_a_target_beyond_single_precision(regression: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match=r"target 'outcome': .* up to 3.4e\+38; found 1e\+39"):
        train(regression, Ridge(), tmp_path, outcome=numbers(row_0=1e39))


def test_a_class_that_no_training_row_has(spec: ModelSpec, tmp_path: Path) -> None:
    sentence = refused(spec, LogisticRegression(), tmp_path, outcome=["on_time"] * COUNT)
    assert "expected training rows of every class; found none of late" in sentence


def test_a_class_that_is_not_declared_is_not_trained_as_a_class_of_its_own(spec: ModelSpec, tmp_path: Path) -> None:
    outcome = ["on_time", "late", "lost", "late"] * (COUNT // 4)
    with pytest.raises(TargetError, match=r"expected one of on_time, late; found another value in 40 row\(s\)"):
        train(spec, imputed(LogisticRegression()), tmp_path, outcome=outcome)


@pytest.mark.parametrize("estimator", [PoissonRegressor(), HistGradientBoostingRegressor(loss="gamma")])
def test_a_loss_that_does_not_take_the_target(regression: ModelSpec, tmp_path: Path, estimator: Any) -> None:
    sentence = refused(regression, imputed(estimator), tmp_path, outcome=[float(n % 11) - 3 for n in range(COUNT)])
    assert "This loss needs another range of the target" in sentence


# -- targets and single precision ------------------------------------------------------------------


def diabetes_regression(tmp_path: Path) -> ModelSpec:
    text = SPEC[: SPEC.index("    features=(")] + SPEC[SPEC.index("    target=") :]
    text = text.replace('task="binary"', 'task="regression"').replace(', classes=("on_time", "late")', "")
    features = ", ".join(f'Numeric(name="x{n}", unit="", minimum=-9, maximum=9)' for n in range(10))
    text = text.replace("    target=", f"    features=({features},),\n    target=")
    gates = text.index("    gates=(")
    text = text[:gates] + text[text.index("    retrain_schedule") :]
    return declare_model(tmp_path / "models", spec=text)


def diabetes(tmp_path: Path, offset: float) -> tuple[ModelSpec, Any]:
    """scikit-learn's diabetes as parcels: ten numbers, and a target of 25 to 346 above `offset`."""
    spec = diabetes_regression(tmp_path)
    x, y = load_diabetes(return_X_y=True)
    columns: dict[str, object] = {f"x{n}": x[:COUNT, n] for n in range(10)}
    return spec, snapshot(spec, rows(**columns, outcome=y[:COUNT] + offset), tmp_path / "s")


def scores_of(spec: ModelSpec, taken: Any, estimator: Any) -> tuple[float, float]:
    """R² on the holdout: scikit-learn's, and that of the graph which is served."""
    data = read_training_data(spec, taken)
    fitted = fit(spec.model_copy(update={"estimator": lambda _: estimator}), data)
    served = Scorer(export_onnx(spec, fitted), data.signature).score(data.x_holdout)[:, 0]
    return r2_score(data.y_holdout, fitted.predict(data.x_holdout)), r2_score(data.y_holdout, served)


@pytest.mark.parametrize("offset", [0.0, 1e3, 3e5])
def test_a_target_that_is_accepted_keeps_its_r2(tmp_path: Path, offset: float) -> None:
    near, _ = scores_of(*diabetes(tmp_path / "near", 0.0), LinearRegression())
    own, served = scores_of(*diabetes(tmp_path / "far", offset), LinearRegression())
    assert near > 0.3
    assert own == pytest.approx(near, abs=1e-3)
    assert served == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), Ridge()),
        TransformedTargetRegressor(LinearRegression(), transformer=StandardScaler()),
    ],
    ids=["line", "ridge", "scaled target"],
)
def test_a_target_that_single_precision_blurs_is_refused_with_an_origin(tmp_path: Path, estimator: Any) -> None:
    spec, taken = diabetes(tmp_path, 1.76e9)
    with pytest.raises(PrecisionError, match=r"target 'outcome': .* its step is 128\. .* outcome - 176000\d{4}; or"):
        scores_of(spec, taken, estimator)


def test_boosting_answers_in_double_and_takes_the_target_as_it_is(tmp_path: Path) -> None:
    near, _ = scores_of(*diabetes(tmp_path / "near", 0.0), HistGradientBoostingRegressor(random_state=0))
    own, served = scores_of(*diabetes(tmp_path / "far", 1.76e9), HistGradientBoostingRegressor(random_state=0))
    assert own == pytest.approx(near, abs=1e-4)
    assert served == pytest.approx(own, abs=1e-6)


def test_the_baseline_of_a_large_target_is_as_good_as_that_of_a_small_one(tmp_path: Path) -> None:
    found = []
    for offset in (0.0, 1.76e9):
        spec, taken = diabetes(tmp_path / f"{offset:g}", offset)
        data = read_training_data(spec, taken)
        scores = expected_scores(fit_baseline(spec, data), data.x_holdout)[:, 0]
        found.append(r2_score(data.y_holdout, scores))
    assert found[0] > 0.3
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_what_the_refusal_saves_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn itself learns a linear model from a target in the precision of the matrix."""
    monkeypatch.setattr("include.training.data.MAX_TARGET_SPACING", np.inf)
    near, _ = scores_of(*diabetes(tmp_path / "near", 0), LinearRegression())
    own, served = scores_of(*diabetes(tmp_path / "far", 1.76e9), LinearRegression())
    assert own < near - 0.1
    assert served < near - 0.1


@given(st.floats(0, 1e12), st.floats(1e-3, 1e6), st.integers(0, 9))
def test_no_accepted_target_loses_r2_when_it_is_rounded(offset: float, spread: float, seed: int) -> None:
    y = offset + spread * np.random.default_rng(seed).standard_normal(200)
    regression = ModelSpec.model_construct(name="m", target=Target(column="y"))
    rounded = 1 - r2_score(y, y.astype(np.float32).astype(np.float64))
    try:
        require_target_precision(regression, y, "step Ridge")
    except PrecisionError:
        assert np.spacing(np.float32(np.abs(y).max())) > MAX_TARGET_SPACING * np.std(y)
    else:
        assert rounded < 1e-6


# -- features and single precision -----------------------------------------------------------------


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e39])
def test_a_feature_that_single_precision_cannot_hold(spec: ModelSpec, tmp_path: Path, value: float) -> None:
    sentence = refused(spec, HistGradientBoostingClassifier(), tmp_path, weight=[value] + [1.0] * (COUNT - 1))
    assert "feature 'weight': expected numbers within single precision" in sentence
    assert "in 1 row(s)" in sentence


def test_nan_is_not_a_null(spec: ModelSpec, tmp_path: Path) -> None:
    sentence = refused(spec, HistGradientBoostingClassifier(), tmp_path, distance=[float("nan")] + [1.0] * (COUNT - 1))
    assert "feature 'distance': expected numbers or null; found NaN in 1 row(s)" in sentence
    assert "nullif(distance, 'NaN')" in sentence


# -- errors cross processes, and Airflow knows which to retry --------------------------------------


def test_an_error_stays_what_it_is_when_it_is_pickled() -> None:
    error = EstimatorError("parcels", "step svc (SVC)", "takes no nulls", "Impute them.")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # its own bytes
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_mistake_is_never_retried() -> None:
    assert {EstimatorError, TargetError, PrecisionError, NotEnoughDataError, QueryError} <= set(permanent_errors())


# -- through PostgreSQL ----------------------------------------------------------------------------


def test_nulls_in_the_database_end_in_the_same_sentence(resources: Resources, tmp_path: Path) -> None:
    load_parcels(resources.engine)
    text = SPEC.replace("HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)", "SVC()")
    text = text.replace("from sklearn.ensemble import HistGradientBoostingClassifier", "from sklearn.svm import SVC")
    spec = declare_model(tmp_path / "models", spec=text.replace("SVC()", "SVC(probability=True)"))
    snapshot = pipeline.take_snapshot(spec, TODAY, resources)
    with pytest.raises(EstimatorError, match=r"step SVC takes no nulls, .*: distance \(\d+ of 1,600\)"):
        pipeline.train_candidate(spec, "run 1", snapshot, resources)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("weight, distance", "weighty AS weight, distance"), 'column "weighty" does not exist'),
        (("weight, distance", "1 / (weight - weight) AS weight, distance"), "division by zero"),
        (("FROM source.{name}", "FROM source.nowhere"), 'relation "source.nowhere" does not exist'),
    ],
    ids=["column", "division", "table"],
)
def test_a_query_that_cannot_run_is_no_failure_of_the_database(
    resources: Resources, tmp_path: Path, changed: tuple[str, str], reason: str
) -> None:
    load_parcels(resources.engine)
    spec = declare_model(tmp_path / "models", query=QUERY.replace(*changed))
    with pytest.raises(QueryError, match=reason) as caught:
        pipeline.take_snapshot(spec, TODAY, resources)
    assert "Correct features.sql" in str(caught.value)
    assert not caught.value.retryable
    with pytest.raises(ValidationFailedError, match=reason):
        pipeline.validate_training_data(spec, "run 1", TODAY, resources)
