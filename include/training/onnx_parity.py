"""Compares the ONNX graph with the estimator, on the whole holdout and on probes, and finds what differs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.errors import ConversionError, UnscorableRowsError
from include.inference import ModelSignature, Scorer
from include.records import ParityOfRows, ParityReport
from include.training.conversion import UnconvertibleStepError, convert
from include.training.estimator import last_step_name
from include.training.probes import Probes, numeric_features

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]

HOLDOUT: Final = "the holdout"
BATCHES: Final = (2, 3, 7, 64, 1_000)
SINGLE_ROWS: Final = 200
MOVES: Final = 24
MOVED_BY: Final = (0.5, 1, 2, 4)
"""Units in the last place by which numbers are moved where a label changes."""
WRONG: Final = 1e300
"""The difference of an answer that must not be one."""
NEAR_TIE: Final = 2e-7
"""Two probabilities that differ by less, and do differ, are equal in single precision: either label is right."""


class Answers(NamedTuple):
    """scikit-learn's own answers to some rows.

    Attributes
    ----------
    scores : ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
    labels : ndarray of intp, shape (n,), or None
        The positions of the classes; None for a regression.
    """

    scores: Floats
    labels: NDArray[np.intp] | None

    def of(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Answers:
        """Return the answers to some of the rows."""
        return Answers(self.scores[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class Subject:
    """What is compared: a fitted estimator, and its graph in a scorer.

    Parameters
    ----------
    model : str
    estimator : object
    scorer : Scorer
    tolerance : float
        Largest accepted difference: of a probability, or of a value relative to `spread`.
    holdout : ndarray of float32, shape (n_samples, n_features)
    """

    model: str
    estimator: Any
    scorer: Scorer
    tolerance: float
    holdout: Matrix

    @property
    def signature(self) -> ModelSignature:
        """The signature that the scorer has."""
        return self.scorer.signature

    @cached_property
    def holdout_answers(self) -> Answers:
        """The estimator's answers on the holdout, which it may take long to give."""
        return _accepted_answers(self, _holdout_rows(self))

    @cached_property
    def spread(self) -> float:
        """The standard deviation of a regression's answers on the holdout."""
        return max(float(np.std(self.holdout_answers.scores)), float(np.finfo(np.float32).tiny))


def expected_scores(estimator: Any, matrix: Matrix | Floats) -> Floats:
    """Return scikit-learn's own answers, shape (n, n_classes), or (n, 1) for a regression."""
    answer = estimator.predict_proba(matrix) if hasattr(estimator, "predict_proba") else estimator.predict(matrix)
    return np.asarray(answer, dtype=np.float64).reshape(len(matrix), -1)


def expected_answers(subject: Subject, matrix: Matrix | Floats) -> Answers:
    """Return scikit-learn's scores and classes; the classes are those of the decision threshold, if one is declared."""
    scores, signature = expected_scores(subject.estimator, matrix), subject.signature
    if signature.task == "regression":
        return Answers(scores, None)
    if signature.decision_threshold is not None or not hasattr(subject.estimator, "predict"):
        return Answers(scores, signature.labels(scores))
    return Answers(scores, np.asarray(subject.estimator.predict(matrix), dtype=np.intp).reshape(-1))


def compare_holdout(subject: Subject) -> ParityOfRows:
    """Compare on the rows of the holdout.

    Raises
    ------
    ConversionError
        When the estimator does not accept a row, or its two methods disagree.
    """
    answers = subject.holdout_answers
    _require_one_label(subject, answers)
    return _compare(subject, _holdout_rows(subject), answers)


def compare_rows(subject: Subject, probes: Probes) -> ParityOfRows:
    """Compare on rows of one kind.

    The estimator is given the row in single precision, as in its training. A row whose answer differs is given to it
    in double precision as well: how it rounds inside is no difference of the graph.

    Raises
    ------
    ConversionError
        When the estimator does not accept a row that the declaration lets in.
    """
    if not len(probes.rows):
        return ParityOfRows(kind=probes.kind, rows=0, largest_difference=0.0, changed_labels=0)
    return _compare(subject, probes, _accepted_answers(subject, probes))


def compare_label_changes(subject: Subject, probes: Probes) -> ParityOfRows:
    """Compare on both sides of the changes of a label: first the one side of each, then the other.

    The two sides are neighbouring numbers. An answer of the graph is right if the estimator gives it on either side, in
    single or in double precision, or to the row moved by some last bits: where a jump lies depends on them, if it
    depends on a sum. Where the probabilities do not jump, they are a tie within the tolerance, and either label is
    right.
    """
    got, answered = _scored(subject.scorer, probes.rows)
    every = np.arange(len(got))
    difference, changed = np.full(len(got), np.inf), np.ones(len(got), dtype=np.bool_)

    def allow(rows: NDArray[np.intp], wanted: Answers) -> None:
        off, other_label = _against(subject, got[rows], wanted, near_tie=subject.tolerance)
        difference[rows] = np.fmin(difference[rows], off)
        changed[rows] &= other_label

    answers = [_accepted_answers(subject, probes)]
    with contextlib.suppress(Exception):  # it takes the row in one precision only
        answers.append(expected_answers(subject, probes.rows.astype(np.float64)))
    for wanted in answers:
        for side in (every, np.roll(every, len(every) // 2)):
            allow(every, wanted.of(side))
    numeric = numeric_features(subject.signature)
    random = np.random.default_rng(0)
    for turn in range(MOVES):
        rows = every[answered & ((difference > subject.tolerance) | changed)]
        if len(rows):
            size = MOVED_BY[turn % len(MOVED_BY)] * float(np.finfo(np.float32).eps)
            moved = 1 + random.choice([-size, size], size=(len(rows), len(numeric))) * numeric
            allow(rows, expected_answers(subject, (probes.rows[rows] * moved).astype(np.float32)))
    kept = answered & np.isfinite(difference)
    return ParityOfRows(
        kind=probes.kind,
        rows=len(probes.rows),
        largest_difference=float(difference[kept].max(initial=0.0)),
        changed_labels=int(changed[kept].sum()),
        refused=int((~answered).sum()),
    )


def _holdout_rows(subject: Subject) -> Probes:
    return Probes(HOLDOUT, subject.holdout, [()] * len(subject.holdout))


def _accepted_answers(subject: Subject, probes: Probes) -> Answers:
    try:
        return expected_answers(subject, probes.rows)
    except Exception as error:  # scikit-learn's own errors share no parent
        raise _unaccepted(subject, probes, error) from error


def _compare(subject: Subject, probes: Probes, answers: Answers) -> ParityOfRows:
    wanted = answers.scores
    got, answered = _scored(subject.scorer, probes.rows)
    finite = np.isfinite(wanted).all(axis=1)
    one_sided = finite & ~answered
    if one_sided.any():
        row = int(np.flatnonzero(one_sided)[0])
        raise ConversionError(
            subject.model,
            last_step_name(subject.estimator),
            f"ONNX has no answer for a row of the kind '{probes.kind}' that scikit-learn answers with "
            f"{wanted[row].tolist()}",
            _advice(subject, probes, row),
        )
    both = finite & answered
    unrefused = int((answered & ~finite).sum())
    differences, changed = _differences(subject, probes.rows[both], got[both], answers.of(both))
    return ParityOfRows(
        kind=probes.kind,
        rows=len(probes.rows),
        # An answer where scikit-learn has none is as far off as can be.
        largest_difference=WRONG if unrefused else float(differences.max(initial=0.0)),
        changed_labels=int(changed.sum()),
        refused=int((~answered).sum()),
    )


def batches_agree(scorer: Scorer, matrix: Matrix) -> bool:
    """Return whether rows have the same bits in batches of any size; matrix of shape (n_samples, n_features)."""
    whole, answered = _scored(scorer, matrix)
    matrix, whole = matrix[answered], whole[answered]
    for size in BATCHES:
        count = min(len(matrix), max(size, SINGLE_ROWS))
        for start in range(0, count - size + 1, size):
            part = scorer.score(matrix[start : start + size])
            if part.tobytes() != np.ascontiguousarray(whole[start : start + size]).tobytes():
                return False
    return True


def single_rows_agree(scorer: Scorer, matrix: Matrix) -> bool:
    """Return whether a row alone has the bits that it has among others."""
    few = matrix[:SINGLE_ROWS]
    if len(few) < 2:  # one row is always alone
        return True
    whole, answered = _scored(scorer, few)
    alone = [np.array(scorer.score_one(values)) for values in few[answered].tolist()]
    return all(one.tobytes() == other.tobytes() for one, other in zip(alone, whole[answered], strict=True))


def margins(estimator: Any, matrix: Matrix) -> Floats:
    """Return how far apart the two most probable classes of each row are, shape (n_samples,)."""
    ordered = np.sort(expected_scores(estimator, matrix), axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def served_labels(scorer: Scorer, matrix: Matrix) -> NDArray[np.intp]:
    """Return the class index that the graph gives each row, shape (n_samples,); -1: it has no answer."""
    scores, answered = _scored(scorer, matrix)
    found = np.full(len(matrix), -1, dtype=np.intp)
    found[answered] = scorer.signature.labels(scores[answered])
    return found


def summarised(
    subject: Subject, kinds: list[ParityOfRows], *, single_row_exact: bool, batch_exact: bool
) -> ParityReport:
    """Put the comparisons of all kinds into one report."""
    return ParityReport(
        rows=sum(each.rows for each in kinds),
        largest_difference=max(each.largest_difference for each in kinds),
        changed_labels=sum(each.changed_labels for each in kinds),
        tolerance=subject.tolerance,
        single_row_exact=single_row_exact,
        batch_exact=batch_exact,
        kinds=tuple(kinds),
    )


def find_divergent_step(estimator: Any, matrix: Matrix, tolerance: float) -> str:
    """Return the first step of a pipeline after which ONNX and scikit-learn differ, or else the whole estimator."""
    import onnxruntime

    steps = getattr(estimator, "steps", [])
    for position in range(1, len(steps)):
        name, step = steps[position - 1]
        prefix = estimator[:position]
        try:
            graph = convert(prefix, matrix.shape[1], "transform")
        except UnconvertibleStepError as error:
            return error.step
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        got = session.run(None, {"X": matrix})[0]
        wanted = prefix.transform(matrix)
        wanted = wanted.toarray() if hasattr(wanted, "toarray") else np.asarray(wanted)
        scale = max(1.0, float(np.nanmax(np.abs(wanted))))
        if got.shape != wanted.shape or not np.allclose(got, wanted, atol=tolerance * scale, rtol=0, equal_nan=True):
            return f"{name} ({type(step).__name__})"
    return last_step_name(estimator)


def _scored(scorer: Scorer, matrix: Matrix) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the scores, and which rows have one."""
    answered = np.ones(len(matrix), dtype=np.bool_)
    try:
        return scorer.score(matrix), answered
    except UnscorableRowsError as error:
        answered[list(error.rows)] = False
    scores = np.full((len(matrix), scorer.signature.outputs), np.nan)
    if answered.any():
        scores[answered], rest = _scored(scorer, matrix[answered])
        answered[answered] = rest
    return scores, answered


def _differences(subject: Subject, rows: Matrix, got: Floats, wanted: Answers) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each row's difference, and whether its label changed."""
    if not len(rows):
        return np.empty(0), np.empty(0, dtype=np.bool_)
    difference, changed = _against(subject, got, wanted)
    off = np.flatnonzero((difference > subject.tolerance) | changed)
    if len(off):
        try:
            in_double = expected_answers(subject, rows[off].astype(np.float64))
        except Exception:  # noqa: BLE001  # it takes the row in one precision only, so that one counts
            return difference, changed
        other, other_changed = _against(subject, got[off], in_double)
        nearer = (other <= subject.tolerance) & ~other_changed
        difference[off] = np.where(nearer, other, difference[off])
        changed[off] &= ~nearer
    return difference, changed


def _against(
    subject: Subject, got: Floats, wanted: Answers, *, near_tie: float | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    scores, labels = wanted
    distance = np.abs(got - scores).max(axis=1)
    if labels is None:
        # Relative to the spread of the answers, or to the answer where that is far outside.
        return distance / np.maximum(subject.spread, np.abs(scores).max(axis=1)), np.zeros(len(got), dtype=np.bool_)
    ours = subject.signature.labels(got)
    margin = _margin(subject, scores, labels, ours)
    tied = (margin != 0) & (margin <= NEAR_TIE) if near_tie is None else margin <= near_tie
    return distance, (labels != ours) & ~tied


def _margin(subject: Subject, wanted: Floats, labels: NDArray[np.intp], ours: NDArray[np.intp]) -> Floats:
    """Return how far each row is from a tie of the two labels."""
    threshold, rows = subject.signature.decision_threshold, np.arange(len(wanted))
    margin = wanted[:, 1] - threshold if threshold is not None else wanted[rows, labels] - wanted[rows, ours]
    return np.abs(margin)


def _require_one_label(subject: Subject, answers: Answers) -> None:
    """Refuse an estimator whose ``predict`` is not the class that its ``predict_proba`` says.

    Probabilities and labels are served together, and must not contradict each other.
    """
    wanted, labels = answers
    if labels is None or subject.signature.decision_threshold is not None:
        return
    rows = np.arange(len(wanted))
    contrary = int((wanted.max(axis=1) - wanted[rows, labels] > NEAR_TIE).sum())
    if contrary:
        raise ConversionError(
            subject.model,
            last_step_name(subject.estimator),
            f"its predict contradicts its predict_proba on {contrary:,} of {len(wanted):,} rows of the holdout",
            "Wrap it in CalibratedClassifierCV, whose labels are its most probable classes.",
        )


def _unaccepted(subject: Subject, probes: Probes, error: Exception) -> ConversionError:
    """Return the error that names the first row that the estimator does not accept, and the way out."""
    for row in range(len(probes.rows)):
        try:
            expected_scores(subject.estimator, probes.rows[row : row + 1])
        except Exception as own:  # noqa: BLE001  # see above
            reason = (str(own).strip().splitlines() or [type(own).__name__])[0][:200].rstrip(".")
            return ConversionError(
                subject.model,
                _step_of(subject.estimator, probes.rows[row : row + 1]),
                f"it does not accept a row that spec.py lets in ({probes.kind}): {reason}",
                _advice(subject, probes, row),
            )
    return ConversionError(
        subject.model,
        last_step_name(subject.estimator),
        f"it fails on rows of the kind '{probes.kind}': {error}",
        _advice(subject, probes, 0),
    )


def _step_of(estimator: Any, row: Matrix) -> str:
    """Return the step of a pipeline that does not accept a row."""
    value: Any = row
    for name, step in getattr(estimator, "steps", [])[:-1]:
        if step is None or step == "passthrough":
            continue
        try:
            value = step.transform(value)
        except Exception:  # noqa: BLE001  # the point is to find which one raises, whatever it raises
            return f"{name} ({type(step).__name__})"
    return last_step_name(estimator)


def _advice(subject: Subject, probes: Probes, row: int) -> str:
    names = subject.signature.names
    features = ", ".join(f"'{names[each]}'" for each in probes.features[row]) or "the features"
    if "null" in probes.kind:
        return f"Declare nullable=False for {features}, or impute (SimpleImputer) before this step."
    if "unknown" in probes.kind:
        return (
            f"Set handle_unknown='ignore' in the encoder, or declare handle_unknown='error' for {features} in spec.py."
        )
    if "category" in probes.kind:
        return (
            f"No training row has this category of {features}: set handle_unknown='ignore' in the encoder, "
            "or remove the category from spec.py."
        )
    if "range" in probes.kind or "zero" in probes.kind:
        return f"Narrow minimum and maximum of {features} in spec.py, and keep out_of_range='error'."
    return f"Look at {features}: which values spec.py allows, and which this step accepts."
