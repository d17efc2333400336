"""A row scored by itself, in memory that is used again for the next: the same bits, whoever else asks meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from include.errors import ArtifactError
from include.inference import ModelSignature, Scorer
from tests.graphs import failing_graph

Sign = Callable[..., ModelSignature]


def alone(scorer: Scorer, matrix: np.ndarray) -> np.ndarray:
    return np.array([scorer.score_one(values) for values in matrix.tolist()])


def test_a_row_gets_the_bits_that_it_gets_in_a_batch(
    forest: bytes, linear_classifier: Scorer, regression: Scorer, iris: np.ndarray, iris_signature: Sign
) -> None:
    for scorer, matrix in (
        (Scorer(forest, iris_signature()), iris),
        (linear_classifier, iris),
        (regression, np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32)),
    ):
        assert alone(scorer, matrix).tobytes() == scorer.score(matrix).tobytes()


def test_threads_that_ask_at_once_get_each_its_own_answer(
    forest: bytes, iris: np.ndarray, iris_signature: Sign
) -> None:
    scorer = Scorer(forest, iris_signature())
    wanted = scorer.score(iris)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(scorer.score_one, np.tile(iris, (40, 1)).tolist()))
    assert np.array(found).tobytes() == np.tile(wanted, (40, 1)).tobytes()


def test_a_missing_value_of_one_row_is_not_the_next_rows(forest: bytes, iris: np.ndarray, iris_signature: Sign) -> None:
    scorer = Scorer(forest, iris_signature())
    wanted = scorer.score_one(iris[0].tolist())
    scorer.score_one([float("nan")] * 4)
    assert scorer.score_one(iris[0].tolist()) == wanted


def test_a_row_that_fails_leaves_nothing_behind(iris_signature: Sign) -> None:
    scorer = Scorer(failing_graph(4, 3), iris_signature())
    with pytest.raises(Exception, match="indices element out of data bounds"):
        scorer.score_one([5.0] * 4)
    with pytest.raises(ValueError, match="could not broadcast"):
        scorer.score_one([0.0] * 5)
    assert scorer.score_one([0.0] * 4) == pytest.approx([1 / 3] * 3)


def test_a_graph_whose_scores_are_whole_numbers_is_refused(forest: bytes, iris_signature: Sign) -> None:
    graph = onnx.load_from_string(forest)
    last = graph.graph.output[-1]
    graph.graph.node.append(helper.make_node("Cast", [last.name], ["whole"], to=TensorProto.INT64))
    graph.graph.output.append(helper.make_tensor_value_info("whole", TensorProto.INT64, [None, 3]))
    with pytest.raises(ArtifactError, match=r"expected 3 float score\(s\).*found an output of int64, shape \(1, 3\)"):
        Scorer(graph.SerializeToString(), iris_signature())
