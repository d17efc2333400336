"""What a row may be, and what it then means to the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import RowsRejectedError
from include.inference import FieldError, ModelSignature, RowEncoder
from include.spec import Boolean, Categorical, EntityKey, Feature, Numeric

TRIP = (
    Numeric(name="distance", unit="km", minimum=0, maximum=1000),
    Numeric(name="delay", unit="min", minimum=-60, maximum=60, nullable=True, out_of_range="ignore"),
    Categorical(name="carrier", categories=("AA", "BB", "CC"), handle_unknown="error"),
    Categorical(name="tail", categories=("N1", "N2"), nullable=True),
    Boolean(name="weekend"),
    Boolean(name="holiday", nullable=True),
)
GOOD: dict[str, Any] = {
    "distance": 10.5, "delay": -3, "carrier": "BB", "tail": "N2", "weekend": True, "holiday": False,
}  # fmt: skip


def encoder_of(*features: Feature) -> RowEncoder:
    return RowEncoder(
        ModelSignature(
            model="trip", task="regression", entity_key=EntityKey(column="id"), event_time="at", features=features
        )
    )


def faults_of(row: Any) -> list[FieldError]:
    with pytest.raises(RowsRejectedError) as rejected:
        encoder_of(*TRIP).encode_one(row)
    return list(rejected.value.faults)


def test_numbers_stay_categories_become_positions_and_booleans_become_0_and_1() -> None:
    assert encoder_of(*TRIP).encode_one(GOOD).tolist() == [[10.5, -3.0, 1.0, 1.0, 1.0, 0.0]]


def test_missing_is_nan_but_a_missing_or_unknown_category_is_minus_1() -> None:
    row = GOOD | {"delay": None, "tail": None, "holiday": None}
    encoded = encoder_of(*TRIP).encode_one(row)[0]
    assert math.isnan(encoded[1])
    assert encoded[3] == -1.0
    assert math.isnan(encoded[5])
    assert encoder_of(*TRIP).encode_one(GOOD | {"tail": "never seen"})[0][3] == -1.0


@pytest.mark.parametrize(
    ("changes", "path", "expected", "found"),
    [
        ({"distance": "10"}, "$.features.distance", "a number from 0 to 1000 (km)", 'the string "10"'),
        ({"distance": True}, "$.features.distance", "a number from 0 to 1000 (km)", "true"),
        ({"distance": None}, "$.features.distance", "a number from 0 to 1000 (km)", "null"),
        ({"distance": -0.5}, "$.features.distance", "a number from 0 to 1000 (km)", "-0.5"),
        ({"distance": 1000.0001}, "$.features.distance", "a number from 0 to 1000 (km)", "1000.0001"),
        ({"distance": [1]}, "$.features.distance", "a number from 0 to 1000 (km)", "a list of 1"),
        ({"distance": {}}, "$.features.distance", "a number from 0 to 1000 (km)", "an object of 0"),
        ({"distance": math.nan}, "$.features.distance", "a number from 0 to 1000 (km)", "nan"),
        ({"delay": math.inf}, "$.features.delay", "a number (min), or null", "inf"),
        ({"delay": 1e39}, "$.features.delay", "a number (min), or null", "1e+39"),
        ({"delay": 10**5000}, "$.features.delay", "a number (min), or null", "an integer of 16610 bits"),
        ({"carrier": "DD"}, "$.features.carrier", 'one of "AA", "BB", "CC"', 'the string "DD"'),
        ({"carrier": 1}, "$.features.carrier", 'one of "AA", "BB", "CC"', "1"),
        ({"carrier": None}, "$.features.carrier", 'one of "AA", "BB", "CC"', "null"),
        ({"tail": 5}, "$.features.tail", "a string, or null", "5"),
        ({"weekend": 1}, "$.features.weekend", "true or false", "1"),
        ({"weekend": "true"}, "$.features.weekend", "true or false", 'the string "true"'),
        ({"holiday": 0}, "$.features.holiday", "true or false, or null", "0"),
        ({"odd name": 1}, '$.features["odd name"]', "only the features", "an unknown feature"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(
    changes: dict[str, Any], path: str, expected: str, found: str
) -> None:
    (fault,) = faults_of(GOOD | changes)
    assert fault.path == path
    assert fault.expected.startswith(expected)
    assert (fault.value or fault.found) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"distance": "10"}, "a string of 2 characters"),
        ({"distance": -0.5}, "one out of range"),
        ({"delay": 10**5000}, "one out of range"),
        ({"carrier": "D"}, "a string of 1 character"),
        ({"tail": 5}, "a number"),
        ({"weekend": 1}, "a number"),
        ({"distance": True}, "a boolean"),
        ({"distance": math.nan}, "nan"),
        ({"distance": {"carrier": "DD"}}, "an object of 1"),
    ],
)
def test_of_what_came_the_kind_is_told_and_not_the_value(changes: dict[str, Any], found: str) -> None:
    (fault,) = faults_of(GOOD | changes)
    assert fault.found == found
    assert str(fault).endswith(f"; found {found}")


def test_a_feature_left_out_is_named_even_when_null_would_do() -> None:
    row = {name: value for name, value in GOOD.items() if name != "holiday"}
    assert faults_of(row) == [FieldError("$.features.holiday", "true or false, or null", "no such member")]


def test_a_list_is_faulted_by_position_and_its_length_with_the_declared_order() -> None:
    assert faults_of([10.5, -3, "BB", "N2", True, 0]) == [FieldError.of("$.features[5]", "true or false, or null", 0)]
    assert faults_of([10.5]) == [
        FieldError.of("$.features", "6 values in this order: distance, delay, carrier, tail, weekend, holiday", [10.5])
    ]


@pytest.mark.parametrize("row", ["abc", 3, None, True, 1.5])
def test_a_row_is_a_list_or_an_object_and_nothing_else(row: Any) -> None:
    (fault,) = faults_of(row)
    assert fault.expected == "a list of 6 values, or an object of features by name"


def test_all_faults_of_all_rows_are_told_at_once_but_only_the_first_20() -> None:
    bad = GOOD | {"distance": -1, "weekend": "no"}
    with pytest.raises(RowsRejectedError) as few:
        encoder_of(*TRIP).encode([GOOD, bad, GOOD, bad])
    assert [fault.path for fault in few.value.faults] == [
        "$.features[1].distance", "$.features[1].weekend", "$.features[3].distance", "$.features[3].weekend",
    ]  # fmt: skip
    with pytest.raises(RowsRejectedError) as many:
        encoder_of(*TRIP).encode([bad] * 1000)
    assert len(many.value.faults) == 20


def test_a_long_value_is_told_in_short() -> None:
    (fault,) = faults_of(GOOD | {"carrier": "x" * 100_000})
    assert len(str(fault)) < 250


# -- invariants -----------------------------------------------------------------------------------

words = st.text(max_size=5)
numerics = st.builds(
    lambda low, width, missing, policy: Numeric(
        name="f", unit="1", minimum=low, maximum=low + width, nullable=missing, out_of_range=policy
    ),
    st.floats(-1e6, 1e6),
    st.floats(1, 1e6),
    st.booleans(),
    st.sampled_from(["error", "ignore"]),
)
categoricals = st.builds(
    lambda known, missing, unknown: Categorical(
        name="f", categories=tuple(sorted(known)), nullable=missing, handle_unknown=unknown
    ),
    st.sets(words, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["error", "ignore"]),
)
booleans = st.builds(lambda missing: Boolean(name="f", nullable=missing), st.booleans())
features = st.one_of(numerics, categoricals, booleans)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=3,
)


def permitted(feature: Feature, value: Any) -> bool:
    """Say, without looking at the encoder, whether the words of the declaration allow `value`."""
    if value is None:
        return feature.nullable
    if isinstance(feature, Boolean):
        return isinstance(value, bool)
    if isinstance(feature, Categorical):
        return isinstance(value, str) and (value in feature.categories or feature.handle_unknown == "ignore")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    with np.errstate(over="ignore"):
        seen, low, high = (np.float32(each) for each in (_double(value), feature.minimum, feature.maximum))
    return bool(np.isfinite(seen) and (feature.out_of_range == "ignore" or low <= seen <= high))


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


@given(features, values)
def test_a_value_is_accepted_exactly_when_the_declaration_allows_it(feature: Feature, value: Any) -> None:
    encoder = encoder_of(feature)
    if permitted(feature, value):
        encoded = encoder.encode_one([value])
        assert encoded.dtype == np.float32
        assert encoded.shape == (1, 1)
        assert not np.isinf(encoded).any()
    else:
        with pytest.raises(RowsRejectedError) as rejected:
            encoder.encode_one([value])
        assert [fault.path for fault in rejected.value.faults] == ["$.features[0]"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Feature], list[list[Any]]]:
    drawn = draw(st.lists(features, min_size=1, max_size=5))
    named = [feature.model_copy(update={"name": f"f{i}"}) for i, feature in enumerate(drawn)]
    columns = [_permitted_values(feature) for feature in named]
    rows = draw(st.lists(st.tuples(*columns), min_size=1, max_size=4))
    return named, [list(row) for row in rows]


def _permitted_values(feature: Feature) -> st.SearchStrategy[Any]:
    missing = st.none() if feature.nullable else st.nothing()
    if isinstance(feature, Boolean):
        return missing | st.booleans()
    if isinstance(feature, Categorical):
        return (
            missing
            | st.sampled_from(feature.categories)
            | (words if feature.handle_unknown == "ignore" else st.nothing())
        )
    return missing | st.floats(feature.minimum, feature.maximum)


@given(tables())
def test_a_list_and_an_object_alone_or_among_others_encode_to_the_same_bits(
    table: tuple[list[Feature], list[list[Any]]],
) -> None:
    named, rows = table
    encoder = encoder_of(*named)
    together = encoder.encode(rows)
    by_name = [dict(zip([f.name for f in named], row, strict=True)) for row in rows]
    reordered = [dict(reversed(row.items())) for row in by_name]
    assert encoder.encode(by_name).tobytes() == together.tobytes()
    assert encoder.encode(reordered).tobytes() == together.tobytes()
    alone = np.concatenate([encoder.encode_one(row) for row in rows])
    assert alone.tobytes() == together.tobytes()
