"""What a forest asks most is noted in its graph, and nothing else of it changes."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from include.inference.row_order import MAX_SPLITS, METADATA_KEY
from include.training.conversion import convert as convert_method
from include.training.tree_splits import with_row_order

WIDTH = 4


def convert(estimator: object, width: int) -> bytes:
    return convert_method(estimator, width, "predict_proba")


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(2_000, WIDTH)).astype(np.float32)
    return x, (x[:, 2] + 0.3 * x[:, 0] + random.normal(0, 0.1, len(x)) > 0).astype(np.int64)


def noted(graph: bytes) -> list[tuple[int, float]] | None:
    entries = {each.key: each.value for each in onnx.load_from_string(with_row_order(graph)).metadata_props}
    return [tuple(each) for each in json.loads(entries[METADATA_KEY])] if METADATA_KEY in entries else None


def test_the_question_of_a_stump_is_its_own(rows) -> None:
    stump = DecisionTreeClassifier(max_depth=1).fit(*rows)
    ((feature, threshold),) = noted(convert(stump, WIDTH))
    assert (feature, np.float32(threshold)) == (2, np.float32(stump.tree_.threshold[0]))


def test_what_is_asked_first_comes_first(rows) -> None:
    estimator = DecisionTreeClassifier(max_depth=2, random_state=0).fit(*rows)
    tree = estimator.tree_
    levels = [{0}, {int(tree.children_left[0]), int(tree.children_right[0])}]
    asked = [(feature, round(threshold, 4)) for feature, threshold in noted(convert(estimator, WIDTH))]
    for level in levels:
        wanted = {(int(tree.feature[node]), round(float(tree.threshold[node]), 4)) for node in level}
        assert {asked.pop(0) for _ in level} == wanted
    assert asked == []


@pytest.mark.parametrize(
    "forest",
    [
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
        RandomForestClassifier(10, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
    ],
    ids=lambda forest: type(forest).__name__,
)
def test_a_forest_that_sees_the_features_has_its_questions_noted_always_the_same_ones(rows, forest) -> None:
    graph = convert(forest.fit(*rows), WIDTH)
    asked = noted(graph)
    assert len(asked) == MAX_SPLITS
    assert {feature for feature, _ in asked} <= set(range(WIDTH))
    assert with_row_order(graph) == with_row_order(convert(forest.fit(*rows), WIDTH))


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(SimpleImputer(), RandomForestClassifier(3, random_state=0)), LogisticRegression()],
    ids=["a forest behind another step", "no forest"],
)
def test_a_graph_of_which_nothing_is_known_stays_as_it_is(rows, estimator) -> None:
    graph = convert(estimator.fit(*rows), WIDTH)
    assert with_row_order(graph) == graph
