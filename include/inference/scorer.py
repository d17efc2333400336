"""A matrix becomes scores, by ONNX Runtime and by nothing else.

Sources
-------
ONNX Runtime's thread settings: https://onnxruntime.ai/docs/performance/tune-performance/threading.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from math import isfinite
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from pydantic import TypeAdapter, ValidationError

from include.errors import ArtifactError, RowsRejectedError
from include.inference.encoder import RowEncoder
from include.inference.field_errors import unscorable
from include.inference.model_signature import ModelSignature
from include.inference.row_order import METADATA_KEY, MIN_ROWS, RowOrder, read_row_order
from include.inference.single_row import SingleRow, TensorSpec
from include.provenance import VerifiedFiles
from include.records import Record

onnxruntime.set_default_logger_severity(4)  # its errors are raised as well; its warnings are about the graph

_FAILURES: Final = (Fail, InvalidArgument, RuntimeException, RuntimeError)
"""How ONNX Runtime says that a graph failed while it ran."""
SUM_TOLERANCE: Final = 1e-15
"""Within this distance of 1, probabilities of double precision add up to 1."""
MAX_SUM_ERROR: Final = 1e-4
"""Farther from 1 than this, a sum of probabilities is no rounding error of single precision: the answer is wrong."""


class GoldenRow(Record):
    """A row and the scores that it must get, bit for bit."""

    features: dict[str, Any]
    answer: tuple[float, ...]


_GOLDEN_ROWS = TypeAdapter(tuple[GoldenRow, ...])


class Scorer:
    """One loaded model: answers matrices with scores. Safe to share between threads.

    Parameters
    ----------
    onnx_bytes : bytes
        A graph with one float32 input of shape (n, n_features), whose last output is the scores: float32 or
        float64, of shape (n, n_classes), or (n, 1) for a regression.
    signature : ModelSignature

    Raises
    ------
    ArtifactError
        If ONNX Runtime refuses the graph or cannot run it, or the graph is not of the signature's shape.
    """

    def __init__(self, onnx_bytes: bytes, signature: ModelSignature) -> None:
        self.signature = signature
        self._session = _open_session(onnx_bytes, signature.model)
        # What `InferenceSession.run` calls, after checks that hold here anyway and cost a fifth of a single row's time.
        self._run = self._session._sess.run  # noqa: SLF001
        self._input = _only_input(self._session, len(signature.features), signature.model)
        self._classes = signature.classes
        self._output = [self._session.get_outputs()[-1].name]
        self._order = _row_order(self._session, len(signature.features), signature.model)
        self._one = self._single_row()

    def _single_row(self) -> SingleRow:
        """Try the graph on as many rows of zeros as a single row is given to it: one, or two of the same."""
        signature = self.signature
        blank = np.zeros((1 if signature.single_row_exact else 2, len(signature.features)), dtype=np.float32)
        with _run_by_onnxruntime(signature.model, "rows of zeros"):
            found = np.asarray(self._run(self._output, {self._input: blank}, None)[0])
        shapes = {(len(blank), signature.outputs)} | ({(len(blank),)} if signature.outputs == 1 else set())
        if found.shape not in shapes or found.dtype not in (np.float32, np.float64):
            raise ArtifactError(
                f"model.onnx of '{signature.model}': expected {signature.outputs} float score(s) a row, as "
                f"signature.json says; found an output of {found.dtype}, shape {found.shape} for {len(blank)} row(s). "
                "Train the model again."
            )
        given, taken = TensorSpec(self._input, blank.shape), TensorSpec(self._output[0], found.shape, found.dtype)
        one = SingleRow(self._session, given, taken)
        with _run_by_onnxruntime(signature.model, "a row of zeros"):
            one.score(blank[0].tolist())
        return one

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score each row.

        Parameters
        ----------
        matrix : ndarray of float32, shape (n, n_features)
            As `RowEncoder` or ``encode_batch`` made it.

        Returns
        -------
        ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
            Finite numbers; probabilities lie in [0, 1], and those of a row add up to 1.

        Raises
        ------
        UnscorableRowsError
            If the model has no such answer for a row, or ONNX Runtime fails at it.
        """
        rows = len(matrix)
        if rows == 0:
            return np.empty((0, self.signature.outputs), dtype=np.float64)
        if rows == 1:
            return np.array([self.score_one(matrix[0].tolist())])
        try:
            return self._checked(self._scores_of(matrix))
        except _FAILURES as error:
            failing = self._failing(matrix)
            if not failing:  # no row is at fault: it lacks memory, for example
                raise
            raise unscorable(failing, str(error)) from error

    def score_one(self, values: Sequence[float]) -> list[float]:
        """Score one row, as `RowEncoder.values` gives it; the same numbers as `score` gives, as Python's.

        Raises
        ------
        UnscorableRowsError
            As `score` does.
        """
        try:
            row = self._one.score(values)
        except _FAILURES as error:
            raise unscorable((0,), str(error)) from error
        if self._classes:
            total = row[0]
            for each in row[1:]:  # in this order, as `_checked` adds
                total += each
            if -SUM_TOLERANCE <= total - 1.0 <= SUM_TOLERANCE and min(row) >= 0.0 and max(row) <= 1.0:
                return row
        elif isfinite(row[0]):
            return row
        found: list[float] = self._checked(np.array([row]))[0].tolist()
        return found

    def labels(self, scores: NDArray[np.float64]) -> NDArray[np.intp] | None:
        """Return the position of each row's class; None for a regression."""
        return self.signature.labels(scores) if self._classes else None

    def _scores_of(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = len(matrix)
        if self._order is None or rows < MIN_ROWS:
            found = self._run(self._output, {self._input: matrix}, None)[0]
            return np.asarray(found, dtype=np.float64).reshape(rows, -1)
        order = self._order.of(matrix)
        found = self._run(self._output, {self._input: matrix.take(order, axis=0)}, None)[0]
        place = np.empty_like(order)
        place[order] = np.arange(rows)
        return np.asarray(found.reshape(rows, -1).take(place, axis=0), dtype=np.float64)

    def _checked(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `scores`, with probabilities brought to [0, 1] and to the sum 1 where rounding left them outside."""
        if not self._classes:
            finite = np.isfinite(scores[:, 0])
            if not finite.all():
                raise unscorable(np.flatnonzero(~finite).tolist(), "its score is not a finite number")
            return scores
        total = _row_sums(scores)
        lowest, highest = scores.min(axis=1), scores.max(axis=1)
        inside = (np.abs(total - 1.0) <= SUM_TOLERANCE) & (lowest >= 0.0) & (highest <= 1.0)
        if inside.all():
            return scores
        error = np.maximum(np.abs(total - 1.0), np.maximum(-lowest, highest - 1.0))
        near = error <= MAX_SUM_ERROR  # NaN compares false
        if not near.all():
            raise unscorable(np.flatnonzero(~near).tolist(), "its scores are not probabilities that add up to 1")
        clipped = scores[~inside].clip(0.0, 1.0)
        mended = scores.copy()
        mended[~inside] = clipped / _row_sums(clipped)[:, None]
        return mended

    def _failing(self, matrix: NDArray[np.float32]) -> list[int]:
        """Return the rows at which ONNX Runtime fails."""
        failing = []
        for position, values in enumerate(matrix.tolist()):
            try:
                self._one.score(values)
            except _FAILURES:
                failing.append(position)
        return failing


def _row_sums(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the columns one after the other: NumPy's own sum adds many columns in another order."""
    return np.asarray(reduce(np.add, scores.T), dtype=np.float64)


def load_scorer(files: VerifiedFiles) -> Scorer:
    """Load ``signature.json`` and ``model.onnx`` as the bytes that were checked.

    Raises
    ------
    ArtifactError
        If either is missing or was changed, or they do not belong together.
    """
    return Scorer(files.read("model.onnx"), ModelSignature.from_json(files.read("signature.json")))


def load_golden(files: VerifiedFiles) -> tuple[GoldenRow, ...]:
    """Read ``golden.json`` as the bytes that were checked.

    Raises
    ------
    ArtifactError
        If it is missing or was changed, is not a list of golden rows, or is empty.
    """
    file = f"{files.location}/golden.json"
    try:
        golden = _GOLDEN_ROWS.validate_json(files.read("golden.json"))
    except ValidationError as error:
        raise ArtifactError(f"{file}: expected a JSON list of golden rows; {error}. Train the model again.") from error
    if not golden:
        raise ArtifactError(f"{file}: expected at least one golden row; found none. Train the model again.")
    return golden


def check_golden(scorer: Scorer, golden: Sequence[GoldenRow]) -> None:
    """Ask the golden rows, each alone and then all at once, and insist on the recorded answers.

    Raises
    ------
    ArtifactError
        On the first answer that differs in any bit, or if a row is refused or ONNX Runtime fails at it.
    """
    encoder = RowEncoder(scorer.signature)
    try:
        matrix = encoder.encode([row.features for row in golden], root="golden.json")
    except RowsRejectedError as error:
        raise ArtifactError(f"'{scorer.signature.model}': its own signature refuses a golden row: {error}") from error
    with _run_by_onnxruntime(scorer.signature.model, "its golden rows"):
        together = scorer.score(matrix)
        alone = [np.array(scorer.score_one(values)) for values in matrix.tolist()]
    for position, row in enumerate(golden):
        wanted = np.array(row.answer, dtype=np.float64)
        for manner, got in (("alone", alone[position]), ("batch", together[position])):
            if got.tobytes() != wanted.tobytes():
                raise ArtifactError(
                    f"'{scorer.signature.model}': golden row {position} ({manner}) must get {wanted.tolist()}; "
                    f"it got {got.tolist()}. The artifact does not answer here as it did when it was made: "
                    "compare the versions of onnxruntime, then train again."
                )


def _open_session(onnx_bytes: bytes, model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread a session: rows come in parallel, from workers and shards, and share the cores.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no parent
        raise ArtifactError(
            f"model.onnx of '{model}': ONNX Runtime refuses it: {error}. Train the model again."
        ) from error


@contextmanager
def _run_by_onnxruntime(model: str, rows: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's own exceptions share no parent
        raise ArtifactError(
            f"model.onnx of '{model}': expected a graph that scores {rows}; ONNX Runtime fails when it runs: {error}. "
            "Train the model again."
        ) from error


def _row_order(session: onnxruntime.InferenceSession, width: int, model: str) -> RowOrder | None:
    try:
        return read_row_order(session.get_modelmeta().custom_metadata_map, width)
    except ValueError as error:
        raise ArtifactError(
            f"model.onnx of '{model}': its metadata's {METADATA_KEY}: {error}. Train the model again."
        ) from error


def _only_input(session: onnxruntime.InferenceSession, width: int, model: str) -> str:
    inputs = session.get_inputs()
    found = [(each.name, each.type, each.shape) for each in inputs]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:] != [width]:
        raise ArtifactError(
            f"model.onnx of '{model}': expected one float32 input of shape (n, {width}), as signature.json says; "
            f"found {found}. Train the model again."
        )
    return str(inputs[0].name)
