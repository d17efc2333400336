"""What a column of a tensor may be, and what it then means to the model: the same as its rows one by one."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import RowsRejectedError
from include.inference import ColumnEncoder, ModelSignature, OffsetStrings, RowEncoder, UnknownCategoryCounter
from include.spec import Boolean, Categorical, EntityKey, Feature, Numeric

WORDS = st.text(alphabet="ABé\x00", max_size=9)
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def signature_of(*features: Feature) -> ModelSignature:
    return ModelSignature(
        model="trip", task="regression", entity_key=EntityKey(column="id"), event_time="at", features=features
    )


def column_of(feature: Feature, values: Any) -> list[float]:
    return ColumnEncoder(signature_of(feature)).encode({feature.name: values}, len(values))[:, 0].tolist()


def refusal_of(feature: Feature, values: Any) -> list[str]:
    with pytest.raises(RowsRejectedError) as rejected:
        column_of(feature, values)
    return [str(fault) for fault in rejected.value.faults]


@st.composite
def numbers(draw: st.DrawFn) -> tuple[Feature, Any, list[Any]]:
    """Return a feature, a column of some type of number, and its values as JSON would have them."""
    low = draw(st.floats(-300, 300) | st.sampled_from([-(2.0**63), 2.0**53, -1e38]))
    high = max(low + draw(st.floats(1, 300) | st.sampled_from([2.0**64, 1e39])), math.nextafter(low, math.inf))
    missing, policy = draw(st.booleans()), draw(st.sampled_from(["error", "ignore"]))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        element: st.SearchStrategy[Any] = st.floats(width=8 * dtype.itemsize) | st.sampled_from([low, high])
    else:
        info = np.iinfo(dtype)
        near = st.integers(-3, 3).map(lambda off: min(max(int(low) + off, int(info.min)), int(info.max)))
        element = st.integers(int(info.min), int(info.max)) | near
    with np.errstate(over="ignore"):
        column = np.array(draw(st.lists(element, max_size=6)), dtype=dtype)
    feature = Numeric(name="f", unit="1", minimum=low, maximum=high, nullable=missing, out_of_range=policy)
    return feature, column, [None if math.isnan(value) else value for value in column.tolist()]


@st.composite
def strings(draw: st.DrawFn) -> tuple[Feature, Any, list[Any]]:
    known = draw(st.sets(WORDS, min_size=1, max_size=4))
    feature = Categorical(
        name="f",
        categories=tuple(sorted(known)),
        nullable=draw(st.booleans()),
        handle_unknown=draw(st.sampled_from(["error", "ignore"])),
    )
    values = draw(st.lists(st.sampled_from(sorted(known)) | WORDS, max_size=6))
    rows = [None if value == "" and feature.nullable and "" not in known else value for value in values]
    encoded = [value.encode() for value in values]
    codec = ColumnEncoder(signature_of(feature)).codecs.get("f")
    coded = codec.read(b"".join(struct.pack("<I", len(each)) + each for each in encoded), len(rows)) if codec else None
    return feature, draw(st.sampled_from([values, encoded, OffsetStrings.of(encoded), coded or encoded])), rows


@st.composite
def flags(draw: st.DrawFn) -> tuple[Feature, Any, list[Any]]:
    feature = Boolean(name="f", nullable=draw(st.booleans()))
    values = draw(st.lists(st.booleans(), max_size=4))
    if draw(st.booleans()):
        with_none = draw(st.lists(st.none() | st.booleans(), max_size=4))
        return feature, with_none, with_none
    return feature, np.array(values, dtype=np.bool_), values


def outcome(encode: Callable[[], np.ndarray]) -> bytes | list[tuple[str, str]]:
    """Return the matrix's bits, or which rows were refused and what was expected of them."""
    try:
        matrix = encode()
        return np.where(np.isnan(matrix), np.float32(np.nan), matrix).tobytes()  # NaN has a sign, which means nothing
    except RowsRejectedError as error:
        refused = [(re.findall(r"\[\d+\]", fault.path)[0], fault.expected) for fault in error.faults]
        assert refused
        return refused


@given(st.one_of(numbers(), strings(), flags()))
def test_a_column_encodes_to_the_bits_of_its_rows_and_is_refused_exactly_where_they_are(
    drawn: tuple[Feature, Any, list[Any]],
) -> None:
    feature, column, rows = drawn
    columns, one_by_one = ColumnEncoder(signature_of(feature)), RowEncoder(signature_of(feature))
    assert outcome(lambda: columns.encode({"f": column}, len(rows), lambda row, _: f"[{row}]")) == outcome(
        lambda: one_by_one.encode([[value] for value in rows])
    )


@given(strings())
def test_unknown_categories_are_counted_once_each_from_columns_and_from_rows(
    drawn: tuple[Feature, Any, list[Any]],
) -> None:
    feature, column, values = drawn
    assert isinstance(feature, Categorical)
    from_rows, from_column = UnknownCategoryCounter(), UnknownCategoryCounter()
    try:
        RowEncoder(signature_of(feature), from_rows).encode([[value] for value in values])
        ColumnEncoder(signature_of(feature), from_column).encode({"f": column}, len(values))
    except RowsRejectedError:
        return  # nobody was answered
    unknown = sum(value is not None and value not in feature.categories for value in values)
    expected = {("trip", "f"): unknown} if unknown else {}
    assert from_rows.take() == from_column.take() == expected
    assert from_rows.take() == {}, "they were taken"


def test_an_unknown_category_of_a_rejected_row_is_not_counted_again_for_its_errors() -> None:
    features = Categorical(name="c", categories=("a",)), Numeric(name="n", unit="1", minimum=0, maximum=1)
    counter = UnknownCategoryCounter()
    with pytest.raises(RowsRejectedError):
        RowEncoder(signature_of(*features), counter).encode([["b", 2]])
    assert counter.take() == {("trip", "c"): 1}


def test_all_faults_are_named_row_by_row_but_only_the_first_20() -> None:
    features = (Numeric(name="a", unit="1", minimum=0, maximum=1), Boolean(name="b"))
    encoder = ColumnEncoder(signature_of(*features))
    with pytest.raises(RowsRejectedError) as rejected:
        encoder.encode({"a": np.array([0.5, 2, 3]), "b": np.array([1, 0, 1])}, 3)
    assert [fault.path for fault in rejected.value.faults] == [
        "inputs.b[0]", "inputs.a[1]", "inputs.b[1]", "inputs.a[2]", "inputs.b[2]",
    ]  # fmt: skip
    with pytest.raises(RowsRejectedError) as many:
        encoder.encode({"a": np.full(1000, 9.0), "b": np.ones(1000)}, 1000)
    assert len(many.value.faults) == 20


def test_a_column_of_another_kind_is_refused_as_a_row_would_be() -> None:
    number = Numeric(name="f", unit="km", minimum=0, maximum=9)
    category = Categorical(name="f", categories=("A",), handle_unknown="error")
    assert refusal_of(number, np.array([True])) == ["inputs.f[0]: expected a number from 0 to 9 (km); found a boolean"]
    assert refusal_of(number, ["1"]) == [
        "inputs.f[0]: expected a number from 0 to 9 (km); found a string of 1 character"
    ]
    assert refusal_of(number, OffsetStrings.of([b"1"])) == [
        "inputs.f[0]: expected a number from 0 to 9 (km); found a string of 1 character"
    ]
    assert refusal_of(category, np.array([1.0])) == ['inputs.f[0]: expected one of "A"; found a number']
    assert refusal_of(Boolean(name="f"), np.array([1])) == ["inputs.f[0]: expected true or false; found a number"]


def test_a_boolean_that_may_be_missing_is_taken_as_0_1_and_nan_since_tensors_of_booleans_have_no_missing() -> None:
    feature = Boolean(name="f", nullable=True)
    encoded = column_of(feature, np.array([0, 1, math.nan], dtype=np.float32))
    assert encoded[:2] == [0.0, 1.0]
    assert math.isnan(encoded[2])
    assert len(refusal_of(feature, np.array([0.5]))) == 1
    assert len(refusal_of(Boolean(name="f"), np.array([1.0]))) == 1


def test_an_empty_string_is_missing_where_that_is_allowed_unless_it_is_a_category() -> None:
    kwargs: dict[str, Any] = {"name": "f", "handle_unknown": "error"}
    assert column_of(Categorical(categories=("A",), nullable=True, **kwargs), ["", "A"]) == [-1.0, 0.0]
    assert column_of(Categorical(categories=("", "A"), nullable=True, **kwargs), ["", "A"]) == [0.0, 1.0]
    assert len(refusal_of(Categorical(categories=("A",), **kwargs), ["", "A"])) == 1
