"""The order of a batch's rows: whatever it is, each row gets its own answer."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.errors import ArtifactError
from include.inference import Scorer
from include.inference.row_order import MAX_SPLITS, METADATA_KEY, MIN_ROWS, RowOrder, format_row_order, read_row_order

FEATURES = 3
numbers = st.floats(width=32, allow_infinity=False)
questions = st.lists(
    st.tuples(st.integers(0, FEATURES - 1), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    min_size=1,
    max_size=MAX_SPLITS,
)
matrices = st.integers(0, 40).flatmap(lambda rows: arrays(np.float32, (rows, FEATURES), elements=numbers))


@given(matrices, questions)
def test_rows_of_the_same_answers_stand_together_and_each_row_once(matrix, asked) -> None:
    order = RowOrder(asked).of(matrix)
    assert sorted(order.tolist()) == list(range(len(matrix)))
    answers = [tuple(bool(row[feature] <= np.float32(threshold)) for feature, threshold in asked) for row in matrix]
    assert [answers[position] for position in order] == sorted(answers)


@given(questions)
def test_what_is_written_is_read(asked) -> None:
    read = read_row_order({METADATA_KEY: format_row_order(asked), "another": "entry"}, FEATURES)
    matrix = np.random.default_rng(0).normal(size=(50, FEATURES)).astype(np.float32)
    assert read is not None
    assert (read.of(matrix) == RowOrder(asked).of(matrix)).all()


def test_a_graph_without_the_entry_asks_for_no_order() -> None:
    assert read_row_order({"sluice.row_order.2": "[[0, 1.0]]"}, FEATURES) is None


BROKEN = ["", "{}", "[]", "[[0]]", "[[4, 1.0]]", "[[-1, 1.0]]", '[["0", 1.0]]', "[[true, 1.0]]", "[[0, 1.0, 2]]",
          json.dumps([[0, 1.0]] * 17)]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_an_entry_of_another_form_is_refused_when_the_artifact_is_loaded(text: str, forest, iris_signature) -> None:
    with pytest.raises(ArtifactError, match=r"its metadata's sluice\.row_order\.1: .*Train the model again"):
        Scorer(noted(forest, text), iris_signature())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3 * MIN_ROWS))
def test_a_row_gets_the_same_bits_in_any_order_and_company(forest, iris, iris_signature, seed: int, rows: int) -> None:
    plain, ordered = (Scorer(each, iris_signature()) for each in (forest, noted(forest, "[[2, 2.5], [3, 1.65]]")))
    drawn = iris[np.random.default_rng(seed).integers(0, len(iris), rows)]
    assert ordered.score(drawn).tobytes() == plain.score(drawn).tobytes()


def noted(graph: bytes, text: str) -> bytes:
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    return model.SerializeToString()
