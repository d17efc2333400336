"""Each feature type is one class: no other code asks of which type a feature is, and each class keeps its promises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator

from include.errors import RowsRejectedError
from include.inference import ModelSignature, RowEncoder
from include.inference.feature_types import FeatureType, feature_type
from include.inference.tensor_types import BYTES, NUMPY_TYPES
from include.spec import Boolean, Categorical, EntityKey, Feature, Numeric

ROOT = Path(__file__).parents[2]
HOME = ("include/spec/features.py", "include/inference/feature_types/")
DECLARATIONS: tuple[Any, ...] = get_args(get_args(Feature)[0])
FEATURES = [
    Numeric(name="f", unit="km", minimum=-1, maximum=9),
    Numeric(name="f", unit="km", minimum=-1, maximum=9, nullable=True, out_of_range="ignore"),
    Categorical(name="f", categories=("A", "B"), handle_unknown="error"),
    Categorical(name="f", categories=("A", "B"), nullable=True),
    Boolean(name="f"),
    Boolean(name="f", nullable=True),
]


def test_only_their_home_compares_types_of_features() -> None:
    found = [
        f"{path}:{line}"
        for folder in ("include", "model_service", "plugins", "dags")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not (path := file.relative_to(ROOT).as_posix()).startswith(HOME)
        for line in type_comparisons(file.read_text())
    ]
    assert found == [], "put what differs between feature types into include/inference/feature_types"


@pytest.mark.parametrize(
    "code",
    [
        'feature.kind == "numeric"',
        '"numeric" != f.kind',
        'f.kind in ("boolean", "categorical")',
        "isinstance(feature, Numeric)",
        "isinstance(f, spec.Boolean | str)",
        "type(f) is Categorical",
        '{"numeric": 1, "boolean": 2}[f.kind]',
        "TABLE[feature.kind]",
        "match f:\n    case Numeric():\n        pass",
        'match f.kind:\n    case "numeric":\n        pass',
    ],
)
def test_every_way_to_compare_types_is_found(code: str) -> None:
    assert list(type_comparisons(code)) != []


@pytest.mark.parametrize(
    "code",
    ['gate.kind == "latency"', "isinstance(x, int)", "dtype.kind == 'f'", "GATES[gate.kind]", "Numeric(name='f')"],
)
def test_other_comparisons_are_left_alone(code: str) -> None:
    assert list(type_comparisons(code)) == []


def type_comparisons(code: str) -> Iterator[int]:
    """Yield the lines on which code asks of which type a feature is."""
    classes = {each.__name__ for each in DECLARATIONS}
    kinds = {each.model_fields["kind"].default for each in DECLARATIONS}
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Compare() if _names(node) & classes or (_has_kind(node) and _strings(node) & kinds):
                yield node.lineno
            case ast.Call(func=ast.Name("isinstance" | "issubclass")) if _names(node) & classes:
                yield node.lineno
            case ast.Subscript(value=value, slice=ast.Attribute(value=owner, attr="kind")) if _strings(
                value
            ) & kinds or (isinstance(owner, ast.Name) and owner.id in ("f", "feature")):
                yield node.lineno
            case ast.MatchClass(cls=named) if _names(named) & classes:
                yield node.lineno
            case ast.Match(subject=subject) if _has_kind(subject) and _strings(node) & kinds:
                yield node.lineno


def _names(node: ast.AST) -> set[str]:
    inner = list(ast.walk(node))
    return {each.id for each in inner if isinstance(each, ast.Name)} | {
        each.attr for each in inner if isinstance(each, ast.Attribute)
    }


def _has_kind(node: ast.AST) -> bool:
    return bool(_names(node) & {"kind", "matrix_type"}) and "dtype" not in _names(node)


def _strings(node: ast.AST) -> set[object]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}


def test_each_declared_type_has_a_class_of_its_own() -> None:
    classes = {type(feature_type(feature)) for feature in FEATURES}
    assert {type(feature) for feature in FEATURES} == set(DECLARATIONS)
    assert len(classes) == len(DECLARATIONS)
    assert all(issubclass(each, FeatureType) for each in classes)


def signature(feature: Feature) -> ModelSignature:
    return ModelSignature(
        model="trip", task="regression", entity_key=EntityKey(column="id"), event_time="at", features=(feature,)
    )


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_an_example_is_encoded_and_fits_the_schema_and_no_invalid_value_does(feature: Feature) -> None:
    of_type, encoder = feature_type(feature), RowEncoder(signature(feature))
    schema = Draft202012Validator(of_type.json_schema())
    accepted = [of_type.example(), *([None] if feature.nullable else [])]
    invalid = [value for value, _ in of_type.invalid_values()]
    assert invalid
    assert all(schema.is_valid(value) and encoder.encode([[value]]).shape == (1, 1) for value in accepted)
    for value in invalid:
        assert not schema.is_valid(value)
        with pytest.raises(RowsRejectedError):
            encoder.encode([[value]])


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_a_column_of_arrow_has_the_codes_of_its_rows_and_every_row_is_in_a_named_part(feature: Feature) -> None:
    of_type = feature_type(feature)
    values = [of_type.example(), *([None] if feature.nullable else [])]
    column = of_type.arrow_encoder()(pa.array(values))
    rows = RowEncoder(signature(feature)).encode([[value] for value in values])[:, 0]
    assert column.tobytes() == rows.tobytes()
    codes, names = of_type.slice_codes(column)
    assert ((codes >= 0) & (codes < len(names))).all()
    assert of_type.merged_values(pa.chunked_array([np.array([1.0, 1.0])])) in (None, (1, 1, 1.0))


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_the_tensor_types_that_are_shown_are_accepted(feature: Feature) -> None:
    of_type = feature_type(feature)
    assert {of_type.tensor_type, of_type.json_tensor_type} <= set(of_type.tensor_types) <= {*NUMPY_TYPES, BYTES}


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_what_is_read_from_the_database_may_be_what_it_is_cast_to(feature: Feature) -> None:
    assert feature.sql_type in feature.sql_types
    nulls = [each for each in feature_type(feature).column_checks(feature.sql_type) if each.rule == "no null"]
    assert len(nulls) == (0 if feature.nullable else 1)
