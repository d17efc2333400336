"""One code path: the same row gets the same bits, alone and among others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from include.errors import ArtifactError, UnscorableRowsError
from include.inference import GoldenRow, ModelSignature, Scorer, check_golden, load_golden, load_scorer
from include.provenance import VerifiedFiles, file_digest
from tests.graphs import answering, failing_graph

Sign = Callable[..., ModelSignature]
Export = Callable[[Any, np.ndarray], bytes]


def golden_of(scorer: Scorer, matrix: np.ndarray) -> list[GoldenRow]:
    names = scorer.signature.names
    return [
        GoldenRow(features=dict(zip(names, row, strict=True)), answer=tuple(answer))
        for row, answer in zip(matrix.tolist(), scorer.score(matrix).tolist(), strict=True)
    ]


@pytest.mark.parametrize("size", [2, 3, 5, 16, 64, 150])
def test_a_forest_answers_one_row_as_it_answers_the_row_in_a_batch(
    forest: bytes, iris: np.ndarray, size: int, iris_signature: Sign
) -> None:
    scorer = Scorer(forest, iris_signature())
    batch = scorer.score(iris[:size])
    alone = np.concatenate([scorer.score(iris[i : i + 1]) for i in range(size)])
    assert alone.tobytes() == batch.tobytes()


@pytest.mark.parametrize("size", [2, 3, 5, 16, 64, 150])
def test_a_linear_model_does_too_when_its_signature_says_that_one_row_alone_is_not_exact(
    linear_classifier: Scorer, iris: np.ndarray, size: int
) -> None:
    batch = linear_classifier.score(iris[:size])
    alone = np.concatenate([linear_classifier.score(iris[i : i + 1]) for i in range(size)])
    assert alone.tobytes() == batch.tobytes()


def test_probabilities_of_single_precision_add_up_to_1_and_keep_their_order(
    forest: bytes, iris: np.ndarray, iris_signature: Sign
) -> None:
    """A sum of many weights in single precision may be 1.0000013, and another class then -1.3e-06."""
    scorer = Scorer(forest, iris_signature())
    scores = scorer.score(iris)
    assert (scores.dtype, scores.shape) == (np.float64, (150, 3))
    raw = onnxruntime.InferenceSession(forest, providers=["CPUExecutionProvider"]).run(None, {"X": iris})[1]
    np.testing.assert_allclose(scores, raw, atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-15, rtol=0)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_array_equal(scorer.labels(scores), raw.argmax(axis=1))


FIXED = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 1e-3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(FIXED, min_size=1, max_size=5), noise=st.floats(-3e-5, 3e-5))
def test_what_a_graph_gives_becomes_probabilities_alone_as_among_others(
    rows: list[list[float]], noise: float, iris_signature: Sign
) -> None:
    wanted = np.array([np.divide(row, sum(row)) for row in rows])
    scorer = Scorer(answering(wanted + noise), iris_signature())
    matrix = np.repeat(np.arange(len(rows), dtype=np.float32)[:, None], 4, axis=1)
    scores = scorer.score(matrix)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-15, rtol=0)
    np.testing.assert_allclose(scores, wanted, atol=2e-4)
    assert scores.tolist() == [scorer.score_one(row) for row in matrix.tolist()]


@pytest.mark.parametrize("wrong", [[np.nan, 0, 1], [np.inf, 0, 0], [0, 0, 0], [0.5, 0.2, 0.2], [1, 1, 1], [-1, 1, 1]])
def test_what_is_no_probability_is_never_an_answer(wrong: list[float], iris_signature: Sign) -> None:
    scorer = Scorer(answering(np.array([[0.2, 0.3, 0.5], wrong])), iris_signature())
    good, bad = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert scorer.score_one([0.0] * 4) == [0.2, 0.3, 0.5]
    with pytest.raises(UnscorableRowsError, match=r"\$\.features\[2\]: expected a row for which"):
        scorer.score(np.concatenate([good, good, bad]))
    with pytest.raises(UnscorableRowsError, match="add up to 1"):
        scorer.score_one([1.0] * 4)


def test_the_rows_at_which_a_graph_fails_are_named(iris_signature: Sign) -> None:
    scorer = Scorer(failing_graph(4, 3), iris_signature())
    matrix = np.zeros((5, 4), np.float32)
    matrix[[1, 3]] = 50
    with pytest.raises(UnscorableRowsError, match="indices element out of data bounds") as failed:
        scorer.score(matrix)
    assert failed.value.rows == (1, 3)


def test_a_decision_threshold_gives_the_label_alone_as_among_others(iris_signature: Sign) -> None:
    signature = iris_signature(task="binary", classes=("no", "yes"), decision_threshold=0.3)
    scores = np.array([[0.71, 0.29], [0.7, 0.3], [0.2, 0.8]])
    assert signature.labels(scores).tolist() == [signature.label(row) for row in scores.tolist()] == [0, 1, 1]
    plain = iris_signature(task="binary", classes=("no", "yes"))
    assert plain.labels(np.array([[0.5, 0.5]])).tolist() == [plain.label([0.5, 0.5])] == [0]
    with pytest.raises(ValueError, match="cannot have a decision_threshold"):
        iris_signature(decision_threshold=0.3)


def test_a_regression_has_one_score_a_row(regression: Scorer) -> None:
    matrix = np.zeros((3, 10), dtype=np.float32)
    assert regression.score(matrix).shape == (3, 1)
    assert regression.score(matrix[:1]).shape == (1, 1)
    assert regression.score(matrix[:0]).shape == (0, 1)


def test_golden_rows_pass_when_every_bit_is_as_recorded(forest: bytes, iris: np.ndarray, iris_signature: Sign) -> None:
    scorer = Scorer(forest, iris_signature())
    check_golden(scorer, golden_of(scorer, iris[::10]))


def test_golden_rows_survive_their_file(forest: bytes, iris: np.ndarray, tmp_path: Path, iris_signature: Sign) -> None:
    scorer = Scorer(forest, iris_signature())
    rows = golden_of(scorer, iris[::10])
    (tmp_path / "golden.json").write_text("[" + ",".join(row.model_dump_json() for row in rows) + "]")
    check_golden(scorer, load_golden(files_of(tmp_path)))


def test_a_golden_answer_off_by_one_bit_is_refused(forest: bytes, iris: np.ndarray, iris_signature: Sign) -> None:
    scorer = Scorer(forest, iris_signature())
    rows = golden_of(scorer, iris[::10])
    off = tuple(float(np.nextafter(np.float32(value), np.float32(2))) for value in rows[3].answer)
    rows[3] = rows[3].model_copy(update={"answer": off})
    with pytest.raises(ArtifactError, match="golden row 3"):
        check_golden(scorer, rows)


def test_a_golden_row_that_the_signature_refuses_is_a_fault_of_the_artifact(
    forest: bytes, iris_signature: Sign
) -> None:
    scorer = Scorer(forest, iris_signature())
    row = GoldenRow(features=dict.fromkeys(scorer.signature.names, 101), answer=(1, 0, 0))
    with pytest.raises(ArtifactError, match="its own signature refuses"):
        check_golden(scorer, [row])


def test_a_graph_and_a_signature_that_do_not_belong_together_are_refused(
    forest: bytes, iris: np.ndarray, iris_signature: Sign, export: Export
) -> None:
    signature = iris_signature()
    with pytest.raises(ArtifactError, match=r"shape \(n, 3\)"):
        Scorer(forest, iris_signature(features=signature.features[:3]))
    with pytest.raises(ArtifactError, match="expected 2 float score"):
        Scorer(forest, iris_signature(task="binary", classes=("a", "b")))
    with pytest.raises(ArtifactError, match="expected 3 float score"):
        Scorer(export(LinearRegression().fit(iris, iris[:, 0]), iris), signature)


def test_what_is_no_graph_is_refused(iris_signature: Sign) -> None:
    with pytest.raises(ArtifactError, match="ONNX Runtime refuses it"):
        Scorer(b"not a graph", iris_signature())


def test_a_graph_that_fails_when_it_runs_is_a_fault_of_the_artifact(iris_signature: Sign) -> None:
    with pytest.raises(ArtifactError, match=r"scores rows of zeros; ONNX Runtime fails .* Train the model again"):
        Scorer(failing_graph(4, 3, known=50), iris_signature())
    scorer = Scorer(failing_graph(4, 3), iris_signature())
    row = GoldenRow(features=dict.fromkeys(scorer.signature.names, 5.1), answer=(1, 0, 0))
    with pytest.raises(ArtifactError, match=r"scores its golden rows; ONNX Runtime fails .* Train the model again"):
        check_golden(scorer, [row])


def test_a_folder_becomes_a_scorer(forest: bytes, iris: np.ndarray, tmp_path: Path, iris_signature: Sign) -> None:
    (tmp_path / "model.onnx").write_bytes(forest)
    (tmp_path / "signature.json").write_text(iris_signature().to_json())
    files = files_of(tmp_path)
    assert load_scorer(files).score(iris).shape == (150, 3)
    (tmp_path / "model.onnx").write_bytes(forest + b"x")
    with pytest.raises(ArtifactError, match=r"model\.onnx: expected SHA-256"):
        load_scorer(files)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx: expected a file; found none"):
        load_scorer(files)


def files_of(folder: Path) -> VerifiedFiles:
    return VerifiedFiles(folder, {file.name: file_digest(file) for file in folder.iterdir()})
