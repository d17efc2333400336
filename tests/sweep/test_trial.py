"""The sweep itself: its rows are let in, it reaches the thresholds, and it sees each kind of fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from include.errors import ArtifactError, ConversionError, RowsRejectedError
from include.spec import Boolean, Categorical, Columns, Numeric
from tests.sweep import trial
from tests.sweep.datasets import TABLES, Nulls, problem
from tests.sweep.pool import Results, run_all
from tests.sweep.report import failures, page, summary
from tests.sweep.rows import Matrix, RowMaker, _floats, _ordered, split_nodes
from tests.sweep.trial import Outcome, run

ROWS = 120


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("nulls", ["none", "training", "later", "open"])
def test_every_row_is_one_that_the_declaration_lets_in(name: str, nulls: Nulls) -> None:
    found = problem(name, nulls, lambda _columns: DummyClassifier())
    kinds = dict(RowMaker(found.data, ROWS).kinds())
    assert ("one_null" in kinds) == (nulls in ("training", "later"))
    assert ("beyond" in kinds) == (nulls == "open")
    assert np.isnan(found.data.x_train).any() == (nulls == "training")
    for matrix in kinds.values():
        assert matrix.dtype == np.float32
        for feature, column in zip(found.data.signature.features, matrix.T, strict=True):
            missing = np.isnan(column)
            assert feature.nullable or not missing.any()
            known = column[~missing]
            if isinstance(feature, Categorical):
                assert not missing.any()
                assert set(known.tolist()) <= set(range(-1, len(feature.categories)))
            elif isinstance(feature, Boolean):
                assert set(known.tolist()) <= {0.0, 1.0}
            elif nulls != "open":
                assert ((feature.minimum <= known) & (known <= feature.maximum)).all()


def test_nulls_come_alone_in_pairs_and_all_at_once() -> None:
    found = problem("diabetes", "later", lambda _columns: None)
    kinds = dict(RowMaker(found.data, ROWS).kinds())
    width = len(found.spec.features)
    counts = {name: np.isnan(kinds[name]).sum(axis=1) for name in ("one_null", "two_nulls", "all_null")}
    assert {name: set(each.tolist()) for name, each in counts.items()} == {
        "one_null": {1},
        "two_nulls": {2},
        "all_null": {width},
    }
    assert np.isnan(kinds["one_null"]).any(axis=0).all()


def test_the_ends_of_a_range_and_the_largest_numbers_are_among_the_rows() -> None:
    found = problem("cancer", "open", lambda _columns: None)
    kinds = dict(RowMaker(found.data, 20 * ROWS).kinds())
    for position, feature in enumerate(found.spec.features):
        assert isinstance(feature, Numeric)
        assert {np.float32(feature.minimum), np.float32(feature.maximum)} <= set(kinds["bounds"][:, position])
        largest = np.finfo(np.float32).max
        next_one = np.nextafter(np.float32(feature.maximum), largest)
        assert {largest, -largest, next_one} <= set(kinds["beyond"][:, position])
        assert np.signbit(kinds["small"][kinds["small"][:, position] == 0, position]).any()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_single_precision_numbers_are_counted_in_their_order(numbers: list[float]) -> None:
    values = np.array(sorted(numbers), dtype=np.float32)
    order = _ordered(values)
    assert (np.diff(order) >= 0).all()
    assert (_floats(order) == values).all()
    above = values[values < np.finfo(np.float32).max]
    assert (_ordered(np.nextafter(above, np.float32(np.inf))) - _ordered(above) == 1).all()


def fitted(estimator: Any) -> tuple[Any, RowMaker]:
    found = problem("cancer", "none", lambda _columns: None)
    return estimator.fit(found.data.x_train, found.data.y_train), RowMaker(found.data, 2000)


def test_the_search_finds_the_thresholds_of_a_tree_behind_a_scaler() -> None:
    pipeline, maker = fitted(make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3, random_state=0)))
    rows = maker.thresholds(lambda matrix: pipeline.predict_proba(matrix), [])
    answers = pipeline.predict_proba(rows)
    # Rows come as low, high, and the number next to high. Between low and high lies nothing, but the answer jumps.
    count = len(rows) // 3
    assert count > 10
    low, high = rows[:count], rows[count : 2 * count]
    position = (low != high).argmax(axis=1)
    distance = _ordered(high[np.arange(count), position]) - _ordered(low[np.arange(count), position])
    assert set(np.abs(distance).tolist()) == {1}
    assert (answers[:count] != answers[count : 2 * count]).any(axis=1).all()


@pytest.mark.parametrize("estimator", [DecisionTreeClassifier(max_depth=4), RandomForestClassifier(5)])
def test_the_splits_of_trees_are_among_the_rows(estimator: Any) -> None:
    model, maker = fitted(estimator)
    nodes = split_nodes(model)
    trees = getattr(model, "estimators_", [model])
    assert len(nodes) == sum((tree.tree_.children_left != -1).sum() for tree in trees)
    rows = maker.thresholds(lambda matrix: model.predict_proba(matrix), nodes)
    assert sum((rows[:, feature] == np.float32(threshold)).any() for feature, threshold in nodes) > len(nodes) / 3


# Faults that are put in


class Faulty:
    """A scorer that answers right, but for what `change` does to its answers."""

    def __init__(self, scorer: Any, change: Callable[[Matrix, Any], Any]) -> None:
        self.scorer, self.signature, self.change = scorer, scorer.signature, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scorer, name)

    def score(self, matrix: Matrix) -> Any:
        return self.change(matrix, self.scorer.score(matrix))


def raising(error: Exception) -> Callable[[Matrix, Any], Any]:
    def change(_matrix: Matrix, _scores: Any) -> Any:
        raise error

    return change


FAULTS: dict[str, tuple[Callable[[Matrix, Any], Any], str, str]] = {
    "none": (lambda _m, s: s, "exact", ""),
    "off": (lambda _m, s: s + np.array([2e-5, -2e-5]), "wrong", "off by 2e-05"),
    "swapped": (lambda _m, s: s[:, ::-1], "wrong", "other labels"),
    "not finite": (lambda m, s: np.where(m[:, :1] > 15, np.nan, s), "wrong", "not finite"),
    "outside": (lambda _m, s: s + np.array([4e-7, -4e-7]), "wrong", "outside"),
    "sums": (lambda _m, s: s * (1 - 5e-6), "wrong", "sums that are not 1"),
    "batch": (lambda m, s: s + (1e-12 if len(m) == 7 else 0), "wrong", "another batch"),
    "fails": (raising(RuntimeError("no such node")), "traceback", "RuntimeError: no such node"),
    "refuses": (raising(RowsRejectedError([])), "rows_refused", "ordinary"),
}


def model(_columns: Columns) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_each_fault_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, result, message = FAULTS[name]
    convert = trial.convert
    monkeypatch.setattr(trial, "convert", lambda *given: Faulty(convert(*given), change))
    found = run(problem("cancer", "none", model), ROWS)
    assert found.result == result, found.message
    assert message in found.message
    assert found.scikit_learn == "answers"


def test_a_row_that_scikit_learn_refuses_must_not_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = trial.convert
    answering = problem("cancer", "none", model)

    class Filling(Faulty):
        def score(self, matrix: Matrix) -> Any:
            return self.scorer.score(np.nan_to_num(matrix))

    monkeypatch.setattr(
        trial, "convert", lambda _later, estimator: Filling(convert(answering, estimator), lambda _m, s: s)
    )
    found = run(problem("cancer", "later", model), ROWS)
    assert found.result == "wrong"
    assert "one_null: 48 rows answered that scikit-learn refuses" in found.message
    assert found.scikit_learn.startswith("refuses rows of kind one_null")


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ConversionError("cancer", "standardscaler (StandardScaler)", "why", "How."), "refused"),
        (ConversionError("cancer", "Pipeline", "why", "How."), "refused_without_step"),
        (ArtifactError("Train the model again."), "refused_without_step"),
        (ArtifactError("Feature worst_texture may be null."), "refused"),
        (ValueError("StandardScaler"), "traceback"),
    ],
)
def test_a_refusal_names_a_step_or_a_feature(error: Exception, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "convert", lambda *_given: (_ for _ in ()).throw(error))
    assert run(problem("cancer", "none", model), ROWS).result == result


# Running and reporting


def test_a_configuration_without_an_end_is_killed_and_the_next_one_runs() -> None:
    ended: dict[str, dict[str, Any]] = {}
    names = ["compositions/forest_of_250/cancer/none", "Ridge/bare/diabetes/none"]
    run_all(names, workers=1, rows=5, seconds=0.0, done=ended.__setitem__)
    assert list(ended) == names
    assert {each["result"] for each in ended.values()} <= {"timeout", "exact"}
    assert ended[names[0]]["result"] == "timeout"


def test_results_are_resumed_only_with_the_same_code_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "results.jsonl"
    Results(path, 100, "one").add("Ridge/bare/diabetes/none", Outcome(result="exact").to_dict())
    assert list(Results(path, 100, "one").found) == ["Ridge/bare/diabetes/none"]
    assert not Results(path, 200, "one").found
    assert not Results(path, 100, "two").found


def test_the_page_and_the_summary_say_what_was_found(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl", 100, "one")
    refused = "ConversionError: model 'wine': step PLSRegression cannot be served: why. How."
    records = [
        results.add("Ridge/bare/diabetes/none", Outcome(result="exact").to_dict()),
        results.add("Ridge/bare/diabetes/later", Outcome("wrong", "refuses rows of kind one_null").to_dict()),
        results.add("SVC/scaled/wine/none", Outcome("refused", "has no predict_proba", message=refused).to_dict()),
        results.add("compositions/pca+tree/cancer/none", Outcome("refused", message=refused).to_dict()),
    ]
    assert [each["name"] for each in failures(records)] == ["Ridge/bare/diabetes/later"]
    assert "served exactly: 1 of 2" in summary(records)
    every = [*(each["name"] for each in records), "Ridge/bare/diabetes/open", "ARDRegression/bare/diabetes/none"]
    text = page(records, every, "2026-11-29")
    assert "| `Ridge` |  | works | not run | not run |  |" in text
    assert "| `ARDRegression` |  | not run | not run | not run |  |" in text
    assert "| `SVC` |  | not run | no probabilities | not run |  |" in text
    assert "| of these, served exactly | 1 (50.0%) |" in text
    assert "| answered differently from scikit-learn | 1 |" in text
    assert "| `pca+tree` | refused |  |  | why. How. |" in text
    assert "| why. How. | 1 | `compositions/pca+tree` |" in text
    assert "Only 4 of 6 configurations were run" in text
