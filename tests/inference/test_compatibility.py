"""A signature held against a declaration: what must be the same, and what may be the version's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.inference import ModelSignature, by_classes, declaration_differences
from include.spec import Boolean, Categorical, EntityKey, Feature, FeatureQuery, ModelSpec, Numeric, Target
from tests.builders import QUERY, declare_model

FEATURES: tuple[Feature, ...] = (
    Numeric(name="weight", unit="kg", minimum=0, maximum=100),
    Categorical(name="carrier", categories=("ant", "bee", "cat")),
    Boolean(name="fragile"),
)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return declare_model(tmp_path).model_copy(update={"features": FEATURES})


def signed(spec: ModelSpec, **changes: Any) -> ModelSignature:
    fields: dict[str, Any] = {
        "model": spec.name, "task": spec.task, "entity_key": spec.entity_key, "event_time": spec.event_time,
        "features": spec.features, "classes": spec.target.classes, "target": spec.target.column,
    }  # fmt: skip
    return ModelSignature(**(fields | changes))


def differences(spec: ModelSpec, query: str | None = None, **changes: Any) -> tuple[str, ...]:
    signature = signed(spec, **changes)
    return declaration_differences(signature, signature.query(query or spec.query.text), spec)


def feature(spec: ModelSpec, position: int, **changes: Any) -> dict[str, Any]:
    features = list(spec.features)
    features[position] = features[position].model_copy(update=changes)
    return {"features": tuple(features)}


def test_what_was_declared_fits_and_so_do_classes_in_another_order(spec: ModelSpec) -> None:
    assert differences(spec) == ()
    assert differences(spec, classes=("late", "on_time")) == ()
    assert differences(spec, target="another") == ()


def test_the_row_and_the_prediction_are_always_those_of_the_declaration(spec: ModelSpec) -> None:
    for query in (None, "SELECT another"):
        assert differences(spec, query, entity_key=EntityKey(column="id")) == (
            "its entity key is 'id', and 'parcel_id' is declared",
        )
        assert differences(spec, query, entity_key=EntityKey(column="parcel_id", type="bigint")) == (
            "its entity key 'parcel_id' is bigint, and text is declared",
        )
        assert len(differences(spec, query, event_time="at", task="regression", classes=())) == 2
        assert differences(spec, query, task="multiclass", classes=("late", "lost", "on_time")) == (
            "its task is multiclass, and binary is declared",
        )
        assert differences(spec, query, classes=("on_time", "lost")) == (
            "its classes are on_time, lost, and on_time, late are declared",
        )


@pytest.mark.parametrize(
    ("position", "changes", "found"),
    [
        (0, {"unit": "g"}, "its feature 'weight' is in g, and kg is declared, for the same features.sql"),
        (0, {"unit": ""}, "its feature 'weight' is in no unit, and kg is declared, for the same features.sql"),
        (1, {"categories": ("ant", "cat", "wasp")},
         "its feature 'carrier' has the categories 'wasp', and 'bee' are declared instead, for the same features.sql"),
        (0, {"minimum": -1.0, "maximum": 5.0, "nullable": True, "out_of_range": "ignore"}, None),
        (1, {"nullable": True, "handle_unknown": "error"}, None),
        (1, {"categories": ("ant", "bee")}, None),
        (1, {"categories": ("ant", "bee", "cat", "wasp")}, None),
        (0, {"name": "mass"}, None),
    ],
)  # fmt: skip
def test_while_the_query_is_the_declared_one_the_declaration_says_what_its_columns_mean(
    spec: ModelSpec, position: int, changes: dict[str, Any], found: str | None
) -> None:
    expected = () if found is None else (found,)
    assert differences(spec, **feature(spec, position, **changes)) == expected
    commented = f"-- as it was before\n{spec.query.text.replace(' ', '  ')};\n"
    assert differences(spec, commented, **feature(spec, position, **changes)) == expected
    assert differences(spec, spec.query.text + "AND weight > 0", **feature(spec, position, **changes)) == ()


def test_learned_categories_are_held_against_nothing(spec: ModelSpec) -> None:
    learning = spec.model_copy(update={"features": (FEATURES[0], Categorical(name="carrier"), FEATURES[2])})
    assert differences(learning, features=FEATURES) == ()


LABELS = ("a", "b", "c", "d")


@given(st.permutations(LABELS), st.permutations(LABELS), st.integers(0, 2**32 - 1))
def test_scores_and_labels_go_by_the_names_of_the_classes(ours: list[str], declared: list[str], seed: int) -> None:
    signature = ModelSignature(
        model="m", task="multiclass", entity_key=EntityKey(column="id"), event_time="at", features=FEATURES,
        classes=tuple(ours),
    )  # fmt: skip
    scores = np.random.default_rng(seed).integers(0, 3, (20, 4)) / 2.0  # with ties
    found, labels = by_classes(signature, scores, declared)
    for row, again, label in zip(scores, found, labels, strict=True):
        assert dict(zip(declared, again, strict=True)) == dict(zip(ours, row, strict=True))
        assert declared[label] == ours[signature.label(row.tolist())], "of equal ones the version's own first"


def test_a_label_by_a_threshold_is_that_of_the_version_in_either_order(spec: ModelSpec) -> None:
    signature = signed(spec, decision_threshold=0.25)  # of "late"
    scores = np.array([[0.75, 0.25], [0.76, 0.24], [0.1, 0.9]])
    _, same = by_classes(signature, scores, ("on_time", "late"))
    assert same.tolist() == [1, 0, 1]
    found, swapped = by_classes(signature, scores, ("late", "on_time"))
    assert found.tolist() == scores[:, ::-1].tolist()
    assert swapped.tolist() == [0, 1, 0]


def test_a_regression_has_one_column_and_no_labels(spec: ModelSpec) -> None:
    values = np.array([[1.5], [2.5]])
    found, labels = by_classes(signed(spec, task="regression", classes=()), values, ())
    assert (found.tolist(), labels) == (values.tolist(), None)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("SELECT a,  b FROM t", "select a, b\nfrom t;", True),
        ("SELECT a -- the first\nFROM t", "SELECT a /* the first */ FROM t", True),
        ("SELECT ' -- x' AS a", "SELECT ' -- y' AS a", False),
        ("SELECT 'A' AS a", "SELECT 'a' AS a", False),
        ('SELECT "A" FROM t', 'SELECT "a" FROM t', False),
        ("SELECT 'it''s' AS a", "SELECT  'it''s'  AS a", True),
        ("SELECT length FROM t", "SELECT length * 30 AS length FROM t", False),
    ],
)
def test_two_queries_are_one_if_they_differ_in_comments_and_space_alone(left: str, right: str, same: bool) -> None:
    key = EntityKey(column="id")
    first, second = (FeatureQuery("m", text, key, "at", FEATURES) for text in (left, right))
    assert first.reads_as(second) is second.reads_as(first) is same


def test_a_version_reads_its_labels_as_its_declaration_did(spec: ModelSpec) -> None:
    query = signed(spec).query(QUERY)
    assert query.target == Target(column="outcome", classes=("on_time", "late"))
    assert signed(spec, target=None).query(QUERY).target is None
    assert query.digest == FeatureQuery("m", QUERY, spec.entity_key, "at", ()).digest
