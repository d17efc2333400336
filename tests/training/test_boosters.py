"""XGBoost, LightGBM and CatBoost answer in ONNX as they do themselves, or are refused by name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import given, note, reject, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from include.errors import ConversionError, EstimatorError
from include.inference import ModelSignature, Scorer
from include.provenance import library_versions
from include.spec import Boolean, Categorical, Contract, EntityKey, ModelSpec, Numeric, Target, TrainingWindow
from include.spec.base import Task
from include.training.candidate import ConvertedCandidate, convert_candidate
from include.training.conversion import UnconvertibleStepError, convert
from include.training.data import TrainingData
from include.training.fit import fit_on

EXTRAS = "they are not installed: make test EXTRAS=boosters"
xgboost = pytest.importorskip("xgboost", reason=EXTRAS)
lightgbm = pytest.importorskip("lightgbm", reason=EXTRAS)
catboost = pytest.importorskip("catboost", reason=EXTRAS)

ROWS, HOLDOUT = 700, 200
CATEGORIES = 40  # more than fit into a word of a bit set
CODE, FLAG = 3, 4
COLUMNS = 5
SINGLE, DOUBLE = 5e-7, 1e-12
"""What the arithmetic of XGBoost, and of the other two, may differ by."""

QUIET: dict[str, dict[str, Any]] = {
    "xgboost": {"n_jobs": 1},
    "lightgbm": {"n_jobs": 1, "verbose": -1, "min_child_samples": 5},
    "catboost": {"thread_count": 1, "verbose": 0, "allow_writing_files": False},
}
TREES = {"xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}
PREFIX = {"xgboost": "XGB", "lightgbm": "LGBM", "catboost": "CatBoost"}


@dataclass(frozen=True)
class Rows:
    """Rows of three numbers, a category's code and a boolean, of which the last are the holdout."""

    x: np.ndarray
    y: np.ndarray
    task: Task
    nulls: str

    @property
    def data(self) -> TrainingData:
        border = len(self.x) - HOLDOUT
        return TrainingData(
            signature=signature(self.task, self.nulls),
            x_train=self.x[:border],
            y_train=self.y[:border],
            x_holdout=self.x[border:],
            y_holdout=self.y[border:],
            holdout=pa.table({}),
        )

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        return self.data.x_train, self.data.y_train

    @property
    def holdout(self) -> tuple[np.ndarray, np.ndarray]:
        return self.data.x_holdout, self.data.y_holdout


def make_rows(task: Task, nulls: str = "training", seed: int = 0) -> Rows:
    """Make rows; `nulls` are in the training rows, or only let in later, or are not let in."""
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.normal(0, 10, ROWS).round(1),
            random.lognormal(0, 2, ROWS),
            np.maximum(0, random.normal(0, 1, ROWS)),  # half of them are zero
            random.integers(0, CATEGORIES, ROWS),
            random.random(ROWS) < 0.3,
        ]
    ).astype(np.float32)
    signal = x[:, 0] / 10 + np.log(x[:, 1] + 1) / 2 + x[:, 2] + (x[:, CODE] % 3 == 0) + random.normal(0, 0.5, ROWS)
    if nulls == "training":
        x[:, :3][random.random((ROWS, 3)) < 0.1] = np.nan
    if task == "regression":
        return Rows(x, np.exp(signal / 2).astype(np.float64), task, nulls)
    cuts = [0.5] if task == "binary" else [0.3, 0.6]
    return Rows(x, np.digitize(signal, np.quantile(signal, cuts)).astype(np.int64), task, nulls)


def features(nulls: str) -> tuple[Any, ...]:
    null = nulls != "none"
    return (
        Numeric(name="a", unit="m", minimum=-60, maximum=60, nullable=null),
        Numeric(name="b", unit="m", minimum=0, maximum=1e30, nullable=null),
        Numeric(name="c", unit="m", minimum=-1, maximum=9, nullable=null),
        Categorical(
            name="code", categories=tuple(f"c{each:02}" for each in range(CATEGORIES)), handle_unknown="ignore"
        ),
        Boolean(name="flag"),
    )


def signature(task: Task, nulls: str) -> ModelSignature:
    return ModelSignature(
        model="trial",
        task=task,
        entity_key=EntityKey(column="key"),
        event_time="at",
        features=features(nulls),
        classes={"binary": ("no", "yes"), "multiclass": ("low", "middle", "high"), "regression": ()}[task],
    )


def declare(task: Task, nulls: str) -> ModelSpec:
    return ModelSpec(
        name="trial",
        task=task,
        description="a trial",
        owner="tests",
        source="source.trial",
        entity_key=EntityKey(column="key"),
        event_time="at",
        features=features(nulls),
        target=Target(column="y", classes=signature(task, nulls).classes),
        estimator=lambda _columns: None,
        window=TrainingWindow(train=timedelta(days=10), holdout=timedelta(days=1)),
        contract=Contract(training_rows=(1, 10_000), partition_rows=(1, 1_000), freshness=timedelta(days=1)),
    )


def make(library: str, task: Task, **options: Any) -> Any:
    kind = "Regressor" if task == "regression" else "Classifier"
    found = getattr(sys.modules[library], f"{PREFIX[library]}{kind}")
    return found(**({TREES[library]: 12} | QUIET[library] | options))


def require_parity(estimator: Any, rows: Rows, tolerance: float) -> ConvertedCandidate:
    """Compare as a retrain does: holdout, nulls, ends of ranges, categories, thresholds with their neighbours, ties."""
    converted = convert_candidate(declare(rows.task, rows.nulls), estimator, rows.data)
    parity = converted.parity
    assert parity.largest_difference <= tolerance, parity
    assert (parity.changed_labels, parity.single_row_exact, parity.batch_exact) == (0, True, True), parity
    return converted


# Generated configurations

OWN_ERRORS = (xgboost.core.XGBoostError, lightgbm.basic.LightGBMError, catboost.CatBoostError)

OBJECTIVES: dict[tuple[str, Task], tuple[dict[str, Any], ...]] = {
    ("xgboost", "binary"): ({}, {"scale_pos_weight": 3.0}, {"base_score": 0.2}),
    ("xgboost", "multiclass"): ({}, {"objective": "multi:softmax"}),
    ("xgboost", "regression"): (
        {},
        {"base_score": 1000.0},
        *(
            {"objective": each}
            for each in (
                "reg:absoluteerror",
                "reg:pseudohubererror",
                "reg:squaredlogerror",
                "count:poisson",
                "reg:gamma",
                "reg:tweedie",
            )
        ),
        {"objective": "reg:quantileerror", "quantile_alpha": 0.8},
    ),
    ("lightgbm", "binary"): ({}, {"objective": "cross_entropy"}, {"class_weight": "balanced"}, {"sigmoid": 2.0}),
    ("lightgbm", "multiclass"): ({},),
    ("lightgbm", "regression"): (
        {},
        {"reg_sqrt": True},
        *(
            {"objective": each}
            for each in ("regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie")
        ),
    ),
    ("catboost", "binary"): ({}, {"loss_function": "CrossEntropy"}, {"auto_class_weights": "Balanced"}),
    ("catboost", "multiclass"): ({},),
    ("catboost", "regression"): tuple(
        {"loss_function": each}
        for each in ("RMSE", "MAE", "Quantile:alpha=0.8", "Huber:delta=1", "Poisson", "Tweedie:variance_power=1.5")
    ),
}
GROWTH: dict[str, tuple[dict[str, Any], ...]] = {
    "xgboost": (
        {},
        {"tree_method": "exact", "gamma": 0.5},  # pruned nodes stay in its file
        {"booster": "dart", "rate_drop": 0.3},
        {"booster": "gblinear"},
        {"grow_policy": "lossguide", "max_leaves": 9},
        {"num_parallel_tree": 3, "subsample": 0.7, "colsample_bynode": 0.7},
        {"missing": 0.0},
    ),
    "lightgbm": (
        {},
        {"boosting_type": "dart", "drop_rate": 0.5},
        {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
        {"extra_trees": True},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"num_leaves": 120, "min_child_samples": 1},
    ),
    "catboost": (
        {},
        {"grow_policy": "Depthwise"},
        {"grow_policy": "Lossguide", "max_leaves": 9},
        {"nan_mode": "Max"},
        {"boost_from_average": True},
    ),
}


@st.composite
def configurations(draw: st.DrawFn, library: str) -> tuple[Rows, dict[str, Any], bool, bool]:
    """Draw rows, options, whether to stop early, and whether the code is a category to the library."""
    task: Task = draw(st.sampled_from(("binary", "multiclass", "regression")))
    rows = make_rows(task, draw(st.sampled_from(("none", "training", "later"))), draw(st.integers(0, 5)))
    growth = draw(st.sampled_from(GROWTH[library]))
    options = growth | draw(st.sampled_from(OBJECTIVES[library, task]))
    options[TREES[library]] = draw(st.integers(1, 25))
    if growth.get("booster") == "gblinear":
        return rows, options, False, False
    early = draw(st.booleans()) and not {"dart", "rf"} & set(growth.values())
    native = draw(st.booleans()) and library != "catboost" and growth.get("tree_method") != "exact"
    options["depth" if library == "catboost" else "max_depth"] = draw(st.integers(1, 7))
    options["learning_rate"] = draw(st.sampled_from((0.05, 0.3, 1.0)))
    if draw(st.booleans()) and not native:
        directions = (1, 0, -1, 0, 0)
        options["monotone_constraints"] = list(directions) if library == "catboost" else directions
    return rows, options, early, native


def fit(library: str, rows: Rows, options: dict[str, Any], *, early: bool, native: bool) -> Any:
    """Fit as people do who fit themselves: with rows to stop by, and with categories."""
    fitting: dict[str, Any] = {}
    if native and library == "xgboost":
        options = options | {"enable_categorical": True, "feature_types": ["q", "q", "q", "c", "q"]}
    if native and library == "lightgbm":
        fitting["categorical_feature"] = [CODE]
    if early:
        fitting["eval_set"] = [rows.holdout]
        if library == "lightgbm":
            fitting["callbacks"] = [lightgbm.early_stopping(2, verbose=False)]
        else:
            options = options | {"early_stopping_rounds": 2}
        if library == "xgboost":
            fitting["verbose"] = False
    return make(library, rows.task, **options).fit(*rows.train, **fitting)


def check(library: str, drawn: tuple[Rows, dict[str, Any], bool, bool]) -> None:
    rows, options, early, native = drawn
    note(f"{rows.task}, nulls: {rows.nulls}, {options}, stopped early: {early}, own categories: {native}")
    try:
        estimator = fit(library, rows, options, early=early, native=native)
    except OWN_ERRORS:
        reject()  # options that the library does not combine
    require_parity(estimator, rows, SINGLE if library == "xgboost" else DOUBLE)


@given(configurations("xgboost"))
@settings(max_examples=40, derandomize=True)
def test_xgboost_answers_as_itself(drawn: Any) -> None:
    check("xgboost", drawn)


@given(configurations("lightgbm"))
@settings(max_examples=40, derandomize=True)
def test_lightgbm_answers_as_itself(drawn: Any) -> None:
    check("lightgbm", drawn)


@given(configurations("catboost"))
@settings(max_examples=40, derandomize=True)
def test_catboost_answers_as_itself(drawn: Any) -> None:
    check("catboost", drawn)


@pytest.mark.slow
@pytest.mark.parametrize("library", list(PREFIX))
def test_many_more_configurations_answer_as_themselves(library: str) -> None:
    @given(configurations(library))
    @settings(max_examples=400)
    def many(drawn: Any) -> None:
        check(library, drawn)

    many()


# The arithmetic of each library


@pytest.mark.parametrize("library", list(PREFIX))
@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (1.0, 1e6), (1e-10, 0.0)])
def test_the_sum_of_the_trees_is_the_librarys_own_bit_for_bit(library: str, factor: float, offset: float) -> None:
    rows = make_rows("regression")
    estimator = make(library, "regression", **{TREES[library]: 200}).fit(rows.train[0], offset + factor * rows.train[1])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as in a Scorer
    got = onnxruntime.InferenceSession(convert(estimator, COLUMNS, "predict"), options).run(None, {"X": rows.x})[0]
    assert got.astype(np.float64).tobytes() == estimator.predict(rows.x).astype(np.float64).tobytes()


def test_a_graph_has_no_branch_of_an_oblivious_tree_that_no_row_reaches() -> None:
    rows = make_rows("regression")
    estimator = make("catboost", "regression", depth=8, iterations=20).fit(rows.x[:, :1], rows.y)
    # One feature: of 256 leaves of each tree, at most 9 are reached.
    assert len(convert(estimator, 1, "predict")) < 20 * 9 * 60
    got = onnxruntime.InferenceSession(convert(estimator, 1, "predict")).run(None, {"X": rows.x[:, :1]})[0].reshape(-1)
    np.testing.assert_allclose(got, estimator.predict(rows.x[:, :1]), rtol=1e-14)


def test_two_classes_tie_where_they_do_in_xgboost() -> None:
    """Margins that a float32 probability cannot tell from 0 are probability 0.5, and the first class."""
    rows = make_rows("binary")
    estimator = make("xgboost", "binary", n_estimators=1, learning_rate=1e-8, base_score=0.5).fit(*rows.train)
    assert (estimator.predict(rows.x) == 0).all()
    converted = require_parity(estimator, rows, SINGLE)
    scorer = Scorer(converted.onnx, converted.signature)
    assert (scorer.labels(scorer.score(rows.x)) == 0).all()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_catboost_predicts_the_largest_sum_where_probabilities_are_equal(task: Task) -> None:
    rows = make_rows(task, "none", seed=2)
    estimator = make("catboost", task, iterations=1, depth=2, learning_rate=0.05).fit(*rows.train)
    if task == "binary":
        estimator.set_scale_and_bias(1e-18, 0.0)
    own = estimator.predict_proba(rows.x)
    contrary = own.argmax(axis=1) != estimator.predict(rows.x).reshape(-1).astype(int)
    assert contrary.sum() > 100  # its two answers contradict each other
    require_parity(estimator, rows, DOUBLE)


@pytest.mark.parametrize("library", list(PREFIX))
def test_only_the_trees_up_to_the_best_round_predict(library: str) -> None:
    rows = make_rows("binary", seed=3)
    options = {TREES[library]: 200, "learning_rate": 1.0}
    stopped = fit(library, rows, options, early=True, native=False)
    whole = fit(library, rows, options, early=False, native=False)
    assert len(convert(stopped, COLUMNS, "predict_proba")) < len(convert(whole, COLUMNS, "predict_proba")) / 2
    require_parity(stopped, rows, SINGLE)


# Inside other estimators


def encoded(model: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
    return make_pipeline(
        make_column_transformer((numbers, [0, 1, 2]), (categories, [CODE]), ("passthrough", [FLAG])), model
    )


def linear(task: Task) -> Any:
    model = Ridge() if task == "regression" else LogisticRegression(max_iter=1000)
    return make_pipeline(SimpleImputer(), StandardScaler(), model)


CLASSIFIERS = {
    "scaled": lambda model: make_pipeline(StandardScaler(), model),
    "encoded": encoded,
    "voting": lambda model: VotingClassifier([("a", model), ("b", linear("binary"))], voting="soft", weights=[2, 1]),
    "stacking": lambda model: StackingClassifier([("a", model), ("b", linear("binary"))], cv=3),
    "bagging": lambda model: BaggingClassifier(model, n_estimators=3, random_state=0),
    "sigmoid": lambda model: CalibratedClassifierCV(model, cv=3),
    "isotonic": lambda model: CalibratedClassifierCV(model, cv=3, method="isotonic"),
    "searched": lambda model: GridSearchCV(model, {"learning_rate": [0.1, 0.3]}, cv=3),
}
REGRESSORS = {
    "scaled": lambda model: make_pipeline(StandardScaler(), model),
    "encoded": encoded,
    "voting": lambda model: VotingRegressor([("a", model), ("b", linear("regression"))]),
    "stacking": lambda model: StackingRegressor([("a", model), ("b", linear("regression"))], cv=3),
    "logarithm": lambda model: TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp),
    "searched": lambda model: GridSearchCV(model, {"learning_rate": [0.1, 0.3]}, cv=3),
}


@pytest.mark.parametrize("composition", list(CLASSIFIERS))
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("library", list(PREFIX))
def test_a_classifier_inside_another_estimator(library: str, task: Task, composition: str) -> None:
    rows = make_rows(task)
    estimator = CLASSIFIERS[composition](make(library, task)).fit(*rows.train)
    if (library, task, composition) == ("xgboost", "multiclass", "isotonic"):
        # Its probabilities are of single precision, and the steps behind them are steep: their last bits decide.
        with pytest.raises(ConversionError, match=r"(?s)CalibratedClassifierCV.*last bits.*method='sigmoid'"):
            require_parity(estimator, rows, 1e-5)
    else:
        require_parity(estimator, rows, 1e-5)


@pytest.mark.parametrize("composition", list(REGRESSORS))
@pytest.mark.parametrize("library", list(PREFIX))
def test_a_regressor_inside_another_estimator(library: str, composition: str) -> None:
    rows = make_rows("regression")
    require_parity(REGRESSORS[composition](make(library, "regression")).fit(*rows.train), rows, 1e-5)


@pytest.mark.parametrize("library", list(PREFIX))
def test_a_threshold_of_its_own_gives_the_label(library: str) -> None:
    rows = make_rows("binary")
    require_parity(FixedThresholdClassifier(make(library, "binary"), threshold=0.3).fit(*rows.train), rows, SINGLE)


def test_categories_with_nulls_are_categories_of_xgboost_behind_an_ordinal_encoder() -> None:
    """As docs/how-to/boosters.md says: XGBoost refuses the code -1, and takes NaN."""
    rows = make_rows("multiclass")
    rows.x[::9, CODE] = -1
    estimator = make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), [CODE]), remainder="passthrough"
        ),
        make("xgboost", "multiclass", enable_categorical=True, feature_types=["c", "q", "q", "q", "q"]),
    )
    require_parity(estimator.fit(*rows.train), rows, SINGLE)


# Refused by name


class Own:
    """An objective of one's own, as XGBoost and LightGBM take it."""

    def __call__(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return predicted - truth, np.ones_like(predicted)


@pytest.mark.parametrize(
    ("library", "task", "options", "words"),
    [
        ("xgboost", "binary", {"objective": Own()}, "a function of your own.*binary:logistic"),
        ("xgboost", "binary", {"objective": "binary:hinge"}, "binary:hinge.*binary:logistic"),
        ("xgboost", "regression", {"objective": "survival:cox"}, "survival:cox.*reg:squarederror"),
        (
            "xgboost",
            "regression",
            {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
            "2 values.*one model",
        ),
        ("lightgbm", "regression", {"objective": Own()}, "a function of your own.*regression"),
        ("lightgbm", "multiclass", {"objective": "multiclassova"}, "do not add up to 1.*multiclass"),
        ("lightgbm", "regression", {"linear_tree": True}, "linear models.*linear_tree"),
        ("lightgbm", "binary", {"pred_early_stop": True}, "before the last tree.*pred_early_stop"),
        ("catboost", "multiclass", {"loss_function": "MultiClassOneVsAll"}, "do not add up to 1.*MultiClass"),
        ("catboost", "regression", {"loss_function": "RMSEWithUncertainty"}, "RMSEWithUncertainty.*RMSE"),
    ],
)
def test_what_has_no_faithful_form_is_refused_by_name(
    library: str, task: Task, options: dict[str, Any], words: str
) -> None:
    rows = make_rows(task, "none")
    estimator = make_pipeline(StandardScaler(), make(library, task, **options)).fit(*rows.train)
    with pytest.raises(ConversionError, match=f"(?s){type(estimator[-1]).__name__}.*{words}"):
        convert_candidate(declare(task, "none"), estimator, rows.data)


@pytest.mark.parametrize(
    ("library", "kind", "options"),
    [
        ("xgboost", "XGBRanker", {"group": [100] * 7}),
        ("lightgbm", "LGBMRanker", {"group": [100] * 7}),
        ("catboost", "CatBoostRanker", {"group_id": np.arange(ROWS) // 100}),
    ],
)
def test_a_ranker_is_refused(library: str, kind: str, options: dict[str, Any]) -> None:
    rows = make_rows("binary", "none")
    ranker = getattr(sys.modules[library], kind)(**{TREES[library]: 5}, **QUIET[library]).fit(rows.x, rows.y, **options)
    with pytest.raises(UnconvertibleStepError, match=f"{kind}: its answers order.*regressor"):
        convert(ranker, COLUMNS, "predict")


def test_categories_that_catboost_encodes_itself_are_refused() -> None:
    rows = make_rows("binary", "none")
    words = rows.x.astype(object)
    words[:, CODE] = [f"c{each:.0f}" for each in rows.x[:, CODE]]
    estimator = make("catboost", "binary", cat_features=[CODE]).fit(words, rows.y)
    with pytest.raises(UnconvertibleStepError, match=r"categorical features.*OneHotEncoder"):
        convert(estimator, COLUMNS, "predict_proba")


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_categories_of_a_data_frame_are_refused(library: str) -> None:
    import pandas as pd

    rows = make_rows("binary", "none")
    frame = pd.DataFrame(rows.x, columns=[*"abcde"])
    frame["d"] = frame["d"].map(lambda code: f"c{code:.0f}").astype("category")
    options = {"enable_categorical": True} if library == "xgboost" else {}
    estimator = make(library, "binary", **options).fit(frame, rows.y)
    with pytest.raises(UnconvertibleStepError, match=r"data frame with categories.*matrix"):
        convert(estimator, COLUMNS, "predict_proba")


class OfAnotherVersion(xgboost.XGBClassifier):
    """A classifier whose model file is written in a way that is not known."""

    def get_booster(self) -> Any:
        return self

    def save_raw(self, _format: str) -> bytes:
        return b'{"learner": {"trees": []}}'


def test_an_unknown_model_file_is_refused_by_name() -> None:
    with pytest.raises(UnconvertibleStepError, match=r"OfAnotherVersion: its model file is not as expected.*versions"):
        convert(OfAnotherVersion(), COLUMNS, "predict_proba")


def test_an_estimator_without_trees_is_refused_by_name() -> None:
    rows = make_rows("binary")
    estimator = make("xgboost", "binary", n_estimators=0).fit(*rows.train)
    with pytest.raises(UnconvertibleStepError, match=r"no trees.*n_estimators"):
        convert(estimator, COLUMNS, "predict_proba")


@pytest.mark.parametrize(
    ("library", "options", "words"),
    [
        ("xgboost", {"enable_categorical": True, "feature_types": [*"qqqcq"]}, "OrdinalEncoder.*unknown_value"),
        ("catboost", {"cat_features": [CODE]}, "leave cat_features out.*OneHotEncoder"),
        ("xgboost", {"early_stopping_rounds": 3}, "no rows to stop by.*GridSearchCV"),
        ("lightgbm", {"early_stopping_rounds": 3}, "no rows to stop by.*GridSearchCV"),
    ],
)
def test_a_fit_that_the_library_refuses_says_the_way_out(library: str, options: dict[str, Any], words: str) -> None:
    x, y = make_rows("binary").train
    x[::9, CODE] = -1
    with pytest.raises(EstimatorError, match=rf"(?s)step {PREFIX[library]}Classifier.*{words}"):
        fit_on(declare("binary", "training"), make(library, "binary", **options), x, y)


# Who needs them


def test_their_versions_are_recorded() -> None:
    names = set(library_versions())
    assert {"lightgbm", "catboost"} < names
    assert {"xgboost", "xgboost-cpu"} & names


def test_neither_the_service_nor_our_conversion_imports_them() -> None:
    code = (
        "import sys, model_service, include.inference, include.training.conversion;"
        "print(sorted({'xgboost', 'lightgbm', 'catboost'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
