"""Columns by name, by dtype or by a function: a ColumnTransformer selects as it does by positions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from include.errors import EstimatorError
from include.inference import Scorer
from include.spec import ModelSpec
from include.training import read_training_data
from include.training.column_names import resolve_columns
from include.training.data import TrainingData
from include.training.export import export_onnx
from include.training.fit import fit
from tests.builders import declare_model
from tests.training.parcels import rows, snapshot

WEIGHT, DISTANCE, CARRIER, FRAGILE = range(4)  # in the order of the declaration
NAMES = ("weight", "distance", "carrier", "fragile")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return declare_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def data(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return read_training_data(spec, snapshot(spec, rows(), tmp_path_factory.mktemp("snapshot")))


def selecting(columns: Any) -> ColumnTransformer:
    return ColumnTransformer([("taken", SimpleImputer(), columns)])


def selections(estimator: Any) -> Iterator[Any]:
    """Yield what every ColumnTransformer in an estimator selects."""
    for part in [estimator, *estimator.get_params(deep=True).values()]:
        for _, _, columns in getattr(part, "transformers", []):
            yield columns


def resolved(spec: ModelSpec, data: TrainingData, estimator: Any) -> list[Any]:
    return list(selections(resolve_columns(spec, estimator, data)))


def refusal(spec: ModelSpec, data: TrainingData, estimator: Any) -> str:
    with pytest.raises(EstimatorError) as caught:
        resolve_columns(spec, estimator, data)
    assert not caught.value.retryable
    return str(caught.value)


def named() -> Any:
    """A usual pipeline, as it is written in a notebook."""
    return make_pipeline(
        ColumnTransformer(
            [
                ("number", make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "distance"]),
                ("text", OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=object)),
                ("flag", "passthrough", ["fragile"]),
            ]
        ),
        LogisticRegression(),
    )


def test_a_pipeline_by_names_gives_the_bytes_of_one_by_positions(spec: ModelSpec, data: TrainingData) -> None:
    numbered = named()
    (name, number, _), (_, text, _), (_, flag, _) = numbered[0].transformers
    numbered[0].transformers = [(name, number, [0, 1]), ("text", text, [2]), ("flag", flag, [3])]
    graphs = [
        export_onnx(spec, fit(spec.model_copy(update={"estimator": lambda _, each=each: each}), data))
        for each in (named(), numbered)
    ]
    assert graphs[0] == graphs[1]
    answers = Scorer(graphs[0], data.signature).score(data.x_holdout)
    assert answers.shape == (len(data.x_holdout), 2)


def test_the_declared_estimator_is_left_as_it_is(spec: ModelSpec, data: TrainingData) -> None:
    declared = named()
    resolve_columns(spec, declared, data)
    assert declared[0].transformers[0][2] == ["weight", "distance"]


def test_without_names_there_is_no_copy(spec: ModelSpec, data: TrainingData) -> None:
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    assert resolve_columns(spec, plain, data) is plain


@pytest.mark.parametrize(
    ("columns", "positions"),
    [
        ("distance", [DISTANCE]),
        (["weight", "fragile"], [WEIGHT, FRAGILE]),
        (("fragile", "weight"), [FRAGILE, WEIGHT]),
        (np.array(["carrier"]), [CARRIER]),
        (slice("distance", "carrier"), slice(1, 3, None)),
        (slice(None, "distance"), slice(None, 2, None)),
        ([0, -1], [0, -1]),
        ([], []),
        ([True, False, True, False], [True, False, True, False]),
        (lambda _: ["weight"], [WEIGHT]),
        (lambda frame: list(range(frame.shape[1])), [0, 1, 2, 3]),
        (lambda frame: frame.select_dtypes("number").columns, [WEIGHT, DISTANCE]),
        (lambda frame: frame.select_dtypes("object").columns, [CARRIER]),
        (lambda frame: frame.select_dtypes("category").columns, [CARRIER]),
        (lambda frame: [name for name in frame.columns if frame[name].nunique() < 5], [CARRIER, FRAGILE]),
        (lambda frame: [name for name in frame.columns if frame[name].isna().any()], [DISTANCE]),
        (lambda frame: [name for name in frame.columns if set(frame[name]) == {"ant", "bee", "cat"}], [CARRIER]),
    ],
)
def test_what_selects_columns_is_read_as_in_a_notebook(
    spec: ModelSpec, data: TrainingData, columns: Any, positions: Any
) -> None:
    assert resolved(spec, data, make_pipeline(selecting(columns), LogisticRegression())) == [positions]


@pytest.mark.parametrize(
    ("selector", "positions"),
    [
        (make_column_selector(dtype_include=object), [CARRIER]),
        (make_column_selector(dtype_include="category"), [CARRIER]),
        (make_column_selector(dtype_include="str"), [CARRIER]),
        (make_column_selector(dtype_include=["object", "category", "bool"]), [CARRIER, FRAGILE]),
        (make_column_selector(dtype_include=np.number), [WEIGHT, DISTANCE]),
        (make_column_selector(dtype_include="number"), [WEIGHT, DISTANCE]),
        (make_column_selector(dtype_include=["int64", "float64"]), [WEIGHT, DISTANCE]),
        (make_column_selector(dtype_include=bool), [FRAGILE]),
        (make_column_selector(dtype_exclude=object), [WEIGHT, DISTANCE, FRAGILE]),
        (make_column_selector(dtype_exclude="category"), [WEIGHT, DISTANCE, FRAGILE]),
        (make_column_selector(dtype_exclude=np.number), [CARRIER, FRAGILE]),
        (make_column_selector(pattern="^w|^d"), [WEIGHT, DISTANCE]),
        (make_column_selector(pattern="i", dtype_include=np.number), [WEIGHT, DISTANCE]),
    ],
)
def test_a_selector_takes_text_whatever_its_dtype_would_be(
    spec: ModelSpec, data: TrainingData, selector: Any, positions: list[int]
) -> None:
    assert resolved(spec, data, make_pipeline(selecting(selector), LogisticRegression())) == [positions]


@given(st.lists(st.sampled_from(NAMES), unique=True))
def test_names_are_what_columns_index_gives(spec: ModelSpec, data: TrainingData, names: list[str]) -> None:
    found = resolved(spec, data, make_pipeline(selecting(names), LogisticRegression()))
    assert found == [spec.columns.index(*names)]


LINE = LogisticRegression()


@pytest.mark.parametrize(
    "around",
    [
        lambda step: Pipeline([("nothing", "passthrough"), ("step", step), ("line", LINE)]),
        lambda step: GridSearchCV(make_pipeline(step, LINE), {"logisticregression__C": [1]}),
        lambda step: StackingClassifier([("one", make_pipeline(step, LINE))], final_estimator=LINE),
        lambda step: VotingClassifier([("one", make_pipeline(step, LINE)), ("two", "drop")], voting="soft"),
        lambda step: BaggingClassifier(make_pipeline(step, LINE)),
        lambda step: CalibratedClassifierCV(make_pipeline(step, LINE)),
        lambda step: make_pipeline(make_union(step, SimpleImputer()), LINE),
        lambda step: TransformedTargetRegressor(make_pipeline(step, Ridge())),
    ],
    ids=["after passthrough", "search", "stack", "vote", "bag", "calibrator", "union", "target"],
)
def test_names_are_found_wherever_a_step_is_given_the_features(
    spec: ModelSpec, data: TrainingData, around: Any
) -> None:
    assert resolved(spec, data, around(selecting(["distance"]))) == [[DISTANCE]]


def test_names_within_a_column_transformer_are_of_the_columns_that_it_gives(
    spec: ModelSpec, data: TrainingData
) -> None:
    outer = ColumnTransformer([("both", selecting(["distance"]), ["carrier", "distance"])])
    assert resolved(spec, data, make_pipeline(outer, LINE)) == [[CARRIER, DISTANCE], [1]]
    outside = ColumnTransformer([("both", selecting(["weight"]), ["carrier", "distance"])])
    sentence = refusal(spec, data, make_pipeline(outside, LINE))
    assert "step columntransformer.both (ColumnTransformer) names the column 'weight'" in sentence
    assert "It is given: carrier, distance." in sentence


def test_the_remainder_is_given_what_nobody_took(spec: ModelSpec, data: TrainingData) -> None:
    outer = ColumnTransformer([("one", "drop", ["carrier"])], remainder=selecting(["fragile"]))
    assert resolved(spec, data, make_pipeline(outer, LINE)) == [[CARRIER], [2]]


def test_the_choices_of_a_search_may_have_names(spec: ModelSpec, data: TrainingData) -> None:
    search = GridSearchCV(
        Pipeline([("prepare", "passthrough"), ("line", LINE)]),
        {"prepare": [selecting(["weight"]), selecting(["distance"])]},
    )
    first, second = resolve_columns(spec, search, data).param_grid["prepare"]
    assert [*selections(first), *selections(second)] == [[WEIGHT], [DISTANCE]]
    assert fit(spec.model_copy(update={"estimator": lambda _: search}), data).best_estimator_


def test_boosting_takes_names_too(spec: ModelSpec, data: TrainingData) -> None:
    declared = HistGradientBoostingClassifier(categorical_features=["carrier"], monotonic_cst={"distance": 1})
    found = resolve_columns(spec, declared, data)
    assert (found.categorical_features, found.monotonic_cst) == ([CARRIER], [0, 1, 0, 0])


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (make_pipeline(selecting(["colour"]), LINE), "names the column 'colour', which is not a feature"),
        (make_pipeline(selecting(["weight", 1]), LINE), "names the column 1, which is not a feature"),
        (make_pipeline(selecting([7]), LINE), "selects columns that it is not given"),
        (make_pipeline(StandardScaler(), selecting(["weight"]), LINE), "another step comes before it"),
        (make_pipeline(StandardScaler(), selecting(make_column_selector("w")), LINE), "another step comes before it"),
        (
            StackingClassifier([("one", LINE)], final_estimator=make_pipeline(selecting("weight"), LINE)),
            "step final_estimator.columntransformer (ColumnTransformer) names the column 'weight'",
        ),
        (BaggingClassifier(make_pipeline(selecting("weight"), LINE), max_features=0.5), "another step comes before it"),
        (make_pipeline(selecting(make_column_selector(dtype_include="int64")), LINE), "int64, which no feature has"),
        (make_pipeline(selecting(lambda _: 1 / 0), LINE), "a function that fails: ZeroDivisionError"),
        (make_pipeline(selecting(lambda frame: frame.select_dtypes(exclude="object").columns), LINE), "both are usual"),
        (HistGradientBoostingClassifier(categorical_features=["colour"]), "names the column 'colour'"),
    ],
)
def test_what_names_no_feature_is_refused_with_those_that_there_are(
    spec: ModelSpec, data: TrainingData, estimator: Any, sentence: str
) -> None:
    assert sentence in refusal(spec, data, estimator)


def test_positions_after_another_step_stay_as_they_are(spec: ModelSpec, data: TrainingData) -> None:
    assert resolved(spec, data, make_pipeline(StandardScaler(), selecting([0, 3]), LINE)) == [[0, 3]]


def test_a_category_that_no_row_has_is_still_a_column_of_text(spec: ModelSpec, tmp_path: Path) -> None:
    data = read_training_data(spec, snapshot(spec, rows(carrier=["ant"] * 200), tmp_path))
    found = resolved(spec, data, make_pipeline(selecting(lambda frame: frame.select_dtypes("object").columns), LINE))
    assert found == [[CARRIER]]
