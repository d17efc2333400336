"""One code path: the same row gets the same bits, alone and among others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from include.errors import ArtifactError
from include.inference import GoldenRow, ModelSignature, Scorer, check_golden, load_golden, load_scorer
from include.provenance import VerifiedFiles, file_digest
from tests.graphs import failing_graph

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


def test_scores_are_doubles_that_hold_exactly_the_single_precision_numbers(
    forest: bytes, iris: np.ndarray, iris_signature: Sign
) -> None:
    scores = Scorer(forest, iris_signature()).score(iris)
    assert scores.dtype == np.float64
    assert scores.shape == (150, 3)
    assert (scores == scores.astype(np.float32).astype(np.float64)).all()


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
    with pytest.raises(ArtifactError, match="expected 2 float32 score"):
        Scorer(forest, iris_signature(task="binary", classes=("a", "b")))
    with pytest.raises(ArtifactError, match="expected 3 float32 score"):
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
