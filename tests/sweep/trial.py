"""One configuration: fit, convert, and compare the answers with scikit-learn's own on fresh rows of each kind."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from include.errors import SluiceError, UnscorableRowsError
from include.inference import Scorer, check_golden
from include.spec import Numeric
from include.training.candidate import convert_candidate, divergence_error
from include.training.fit import fit
from include.training.golden import golden_rows
from tests.sweep.datasets import Problem
from tests.sweep.rows import Matrix, RowMaker, split_nodes

Result = Literal["exact", "rows_refused", "refused", "refused_without_step", "traceback", "wrong", "timeout"]
"""What became of a configuration.

exact: every answer is scikit-learn's. rows_refused: so, but for rows that are refused by an error of ours although
scikit-learn answers them. refused: an error of ours names a step or a feature. refused_without_step: an error of ours
names none. traceback: any other error. wrong: an answer that is not scikit-learn's. timeout: no end in time.
"""
FAILURES: tuple[Result, ...] = ("wrong", "traceback", "refused_without_step", "timeout")

SUM_TOLERANCE = 1e-6
BATCHES = (1, 2, 3, 7, 64, 1000)
ALONE = 48
"""So many rows of a kind are asked one by one: rows with another label, or of a kind that is refused as a whole."""


@dataclass(slots=True)
class KindResult:
    """What was found on the rows of one kind.

    Attributes
    ----------
    difference : float
        The largest difference from scikit-learn: of a probability, or relative to the largest prediction.
    labels : int
        Rows whose label is not that of scikit-learn's `predict`.
    ties : int
        Rows at which scikit-learn gives the two most probable classes the same probability.
    near_ties : int
        Rows of `decision_boundary` with another label, at which the probabilities do not jump; not in `labels`.
    last_bits : int
        Rows at which scikit-learn gives our answer when the same row is asked alone, or, with arithmetic that cannot
        be repeated bit by bit (see `REPEATABLE`), when the row comes in double precision or its numbers move by some
        last bits; they are counted nowhere else.
    answered : int
        Rows that scikit-learn refuses or answers with a number that is not finite, and that were answered.
    refused : int
        Rows that scikit-learn answers, and that were refused by an error of ours.
    """

    rows: int = 0
    difference: float = 0.0
    labels: int = 0
    ties: int = 0
    near_ties: int = 0
    last_bits: int = 0
    answered: int = 0
    refused: int = 0
    not_finite: int = 0
    outside: int = 0
    sums: int = 0
    bits: int = 0
    error: str = ""

    def faults(self, tolerance: float) -> list[str]:
        """Return what is wrong, in words; empty if nothing is."""
        named = {
            "other labels": self.labels,
            "rows answered that scikit-learn refuses": self.answered,
            "answers that are not finite": self.not_finite,
            "probabilities outside [0, 1]": self.outside,
            "sums that are not 1": self.sums,
            "rows with other bits in another batch": self.bits,
        }
        found = [f"{count:,} {name}" for name, count in named.items() if count]
        return [f"off by {self.difference:.2g}", *found] if not self.difference <= tolerance else found


@dataclass(slots=True)
class Outcome:
    """What became of one configuration.

    Attributes
    ----------
    scikit_learn : str
        "answers", or what scikit-learn itself cannot do; only "answers" counts for the share that is served.
    step : str
        The step that a refusal names.
    """

    result: Result = "traceback"
    scikit_learn: str = "answers"
    stage: str = ""
    step: str = ""
    message: str = ""
    kinds: dict[str, KindResult] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Report = Callable[[str], None]

_TREES = (
    "DecisionTree",
    "ExtraTree",
    "RandomForest",
    "ExtraTrees",
    "GradientBoosting",
    "HistGradientBoosting",
    "Bagging",
)
REPEATABLE = frozenset(
    {
        "Pipeline",
        "ColumnTransformer",
        "FeatureUnion",
        "SimpleImputer",
        "StandardScaler",
        "MinMaxScaler",
        "MaxAbsScaler",
        "RobustScaler",
        "Binarizer",
        "KBinsDiscretizer",
        "OneHotEncoder",
        "OrdinalEncoder",
        "SelectKBest",
        "SelectFromModel",
        "VarianceThreshold",
    }
    | {tree + kind for tree in _TREES for kind in ("Classifier", "Regressor")}
)
"""Parts of which every number before a threshold can be computed with the bits of scikit-learn: comparisons, and single
additions and divisions. Sums over features, powers and logarithms differ in the last bits from library to library."""
EITHER = -1
"""Stands for a label that is not compared."""
MOVES = 24
MOVED_BY = np.array([0.5, 1, 2, 4]) * float(np.finfo(np.float32).eps)


def convert(problem: Problem, estimator: Any) -> Scorer:
    """Return the scorer of a fitted estimator, or raise the error with which a retrain refuses it.

    The only place that knows how a candidate is converted: as `export_candidate` and `require_parity` do.
    """
    spec, data = problem.spec, problem.data
    converted = convert_candidate(spec, estimator, data)
    scorer = Scorer(converted.onnx, converted.signature)
    check_golden(scorer, golden_rows(scorer, data))
    if not converted.parity.passed:
        raise divergence_error(spec, estimator, data, converted.parity)
    return scorer


def run(problem: Problem, rows: int = 2000, report: Report = lambda _stage: None) -> Outcome:
    """Fit, convert and compare; never raises."""
    started = time.monotonic()
    outcome = Outcome()
    # One thread: the pool has a process for each core, and threads of small matrices wait for each other.
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1):
        warnings.simplefilter("ignore")
        try:
            _run(problem, rows, outcome, report)
        except Exception as error:  # noqa: BLE001  # whatever a configuration raises is its outcome
            outcome.message = f"{type(error).__name__}: {error}"
            outcome.result, outcome.step = _refusal(problem, error)
    outcome.seconds = round(time.monotonic() - started, 2)
    return outcome


def _run(problem: Problem, rows: int, outcome: Outcome, report: Report) -> None:
    def enter(stage: str) -> None:
        outcome.stage = stage
        report(stage)

    enter("fit")
    try:
        estimator = fit(problem.spec, problem.data)
    except Exception:
        outcome.scikit_learn = _without_us(problem, rows)
        raise
    enter("scikit-learn")
    reference = Reference(estimator, problem, rows)
    outcome.scikit_learn = reference.verdict
    enter("convert")
    scorer = convert(problem, estimator)
    enter("score")
    for kind, matrix in reference.kinds.items():
        outcome.kinds[kind] = compare_kind(scorer, reference, kind, matrix)
    outcome.kinds["batches"] = compare_batches(scorer, reference)
    _conclude(outcome, problem.spec.parity_tolerance)


def _conclude(outcome: Outcome, tolerance: float) -> None:
    faults = {kind: found for kind, each in outcome.kinds.items() if (found := each.faults(tolerance))}
    errors = {kind: each.error for kind, each in outcome.kinds.items() if each.error}
    if faults:
        outcome.result = "wrong"
        outcome.message = "; ".join(f"{kind}: {', '.join(found)}" for kind, found in faults.items())
    elif errors:
        outcome.result = "traceback"
        outcome.message = "; ".join(f"{kind}: {error}" for kind, error in errors.items())
    elif any(each.refused for each in outcome.kinds.values()):
        outcome.result = "rows_refused"
        outcome.message = ", ".join(kind for kind, each in outcome.kinds.items() if each.refused)
    else:
        outcome.result = "exact"


def _refusal(problem: Problem, error: Exception) -> tuple[Result, str]:
    if not isinstance(error, SluiceError):
        return "traceback", ""
    step = str(getattr(error, "step", "") or "")
    named = any(re.search(rf"\b{name}\b", str(error)) for name in _names(problem))
    return "refused" if named else "refused_without_step", step


def _names(problem: Problem) -> set[str]:
    """Return what a refusal may name: the estimator's parts by class or by step, and the features; no pipeline."""
    classes = _classes(problem) - {"Pipeline"}
    return classes | {each.lower() for each in classes} | {feature.name for feature in problem.spec.features}


def _classes(problem: Problem) -> set[str]:
    """Return the names of the classes of the estimator's parts."""
    estimator = problem.spec.estimator(problem.spec.columns)
    parts = [estimator, *estimator.get_params(deep=True).values()] if hasattr(estimator, "get_params") else []
    return {type(part).__name__ for part in parts if hasattr(part, "get_params")}


def _without_us(problem: Problem, rows: int) -> str:
    """Return the verdict on scikit-learn where our `fit` raises: fitted by itself, on an array or on a frame."""
    found = ""
    for x_train in (problem.data.x_train, _frame(problem, problem.data.x_train)):
        try:
            estimator = problem.spec.estimator(problem.spec.columns).fit(x_train, problem.data.y_train)
            return Reference(estimator, problem, rows).verdict
        except Exception as error:  # noqa: BLE001  # any error of scikit-learn is the answer
            found = found or f"does not fit: {type(error).__name__}: {error}".splitlines()[0][:200]
    return found


def _frame(problem: Problem, matrix: NDArray[Any]) -> pd.DataFrame:
    return pd.DataFrame(matrix, columns=list(problem.spec.columns.names))


class Reference:
    """scikit-learn's own answers.

    Attributes
    ----------
    kinds : dict of str to ndarray
        The rows of each kind.
    answers, labels : dict of str to ndarray or None
        By kind; None: scikit-learn refuses the rows as they are.
    verdict : str
        "answers", or what it cannot do.
    """

    def __init__(self, estimator: Any, problem: Problem, rows: int) -> None:
        self.estimator, self.problem = estimator, problem
        # LightGBM makes up names for an array.
        self.named = list(getattr(estimator, "feature_names_in_", ())) == list(problem.spec.columns.names)
        self.repeatable = _classes(problem) <= REPEATABLE
        self.numeric = np.array([isinstance(each, Numeric) for each in problem.data.signature.features])
        self.classification = problem.spec.task != "regression"
        self.scores = not self.classification or hasattr(estimator, "predict_proba")
        maker = RowMaker(problem.data, rows)
        self.kinds = dict(maker.kinds())
        if self.scores:
            with contextlib.suppress(Exception):  # an estimator that refuses ordinary rows is reported below
                self.kinds |= self._found_rows(maker)
        self.answers: dict[str, NDArray[np.float64] | None] = {}
        self.labels: dict[str, NDArray[np.int64] | None] = {}
        self.refusal = ""
        for kind, matrix in self.kinds.items():
            self.answers[kind], self.labels[kind] = self._try(kind, matrix)
        self.scale = self._spread(problem.data.x_holdout)
        self.verdict = self._verdict()

    def _spread(self, holdout: Matrix) -> float:
        """Return what differences are relative to: for a regression, the standard deviation of its answers."""
        if self.classification:
            return 1.0
        try:
            return max(float(np.std(self.proba(holdout))), float(np.finfo(np.float32).tiny))
        except Exception:  # noqa: BLE001  # any error of scikit-learn is its refusal, which is reported by kind
            return 1.0

    def _found_rows(self, maker: RowMaker) -> dict[str, Matrix]:
        found = {"thresholds": maker.thresholds(self.proba, split_nodes(self.estimator))}
        if self.classification:
            found["decision_boundary"] = maker.decision_boundary(lambda x: self.predict(x)[:, None])
        return {kind: matrix for kind, matrix in found.items() if len(matrix)}

    def _input(self, matrix: NDArray[Any]) -> Any:
        return _frame(self.problem, matrix) if self.named else matrix

    def proba(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Return scikit-learn's probabilities, shape (n, n_classes), or values, shape (n, 1)."""
        asked = self.estimator.predict_proba if self.classification else self.estimator.predict
        return np.asarray(asked(self._input(matrix)), dtype=np.float64).reshape(len(matrix), -1)

    def predict(self, matrix: NDArray[Any]) -> NDArray[np.int64]:
        """Return the labels of scikit-learn's `predict`, as class indices."""
        return np.asarray(self.estimator.predict(self._input(matrix))).astype(np.int64).reshape(-1)

    def _try(self, kind: str, matrix: Matrix) -> tuple[NDArray[np.float64] | None, NDArray[np.int64] | None]:
        if not self.scores:
            return None, None
        try:
            return self.proba(matrix), (self.predict(matrix) if self.classification else None)
        except Exception as error:  # noqa: BLE001  # any error of scikit-learn is its refusal
            reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
            self.refusal = self.refusal or f"refuses rows of kind {kind}: {type(error).__name__}: {reason}"[:200]
            return None, None

    def _verdict(self) -> str:
        if not self.scores:
            return "has no predict_proba"
        if self.refusal:
            return self.refusal
        infinite = [kind for kind, found in self.answers.items() if found is None or not np.isfinite(found).all()]
        return f"gives scores that are not finite: {', '.join(infinite)}" if infinite else "answers"


def compare_kind(scorer: Scorer, reference: Reference, kind: str, matrix: Matrix) -> KindResult:
    """Compare the answers to the rows of one kind."""
    wanted, wanted_labels = reference.answers[kind], reference.labels[kind]
    result = KindResult(rows=len(matrix))
    if wanted is None:
        _compare_refused(scorer, reference, matrix, result)
        return result
    got, answered = _ask(scorer, matrix, result)
    finite = np.isfinite(wanted).all(axis=1)
    result.answered = int((answered & ~finite).sum())
    result.refused = int((finite & ~answered).sum())
    both = finite & answered
    labels = None if wanted_labels is None else _labels(scorer, got)
    differ = _differing(reference, wanted, got)
    if wanted_labels is not None and labels is not None:
        if kind == "decision_boundary":
            smooth = _smooth_pairs(reference, wanted) & (labels != wanted_labels)
            result.near_ties = int((smooth & both).sum())
            labels = np.where(smooth, EITHER, labels)
        result.ties = int((_margin(wanted) == 0).sum())
        differ |= _other(labels, wanted_labels)
    same = _last_bits(reference, matrix, got, labels, np.flatnonzero(differ & both))
    result.last_bits = int(same.sum())
    kept = both & ~same
    _compare_scores(reference, wanted[kept], got[kept], result)
    if wanted_labels is not None and labels is not None:
        result.labels = int(_other(labels, wanted_labels)[kept].sum())
    return result


def _other(labels: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray((labels != wanted) & (labels != EITHER))


def _ask(scorer: Scorer, matrix: Matrix, result: KindResult) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the answers, and which rows have one: the others are refused by an error of ours, or by any other."""
    scores = np.full((len(matrix), scorer.signature.outputs), np.nan)
    answered = np.zeros(len(matrix), dtype=np.bool_)
    rows = np.arange(len(matrix))
    while len(rows):
        try:
            scores[rows] = scorer.score(matrix[rows])
        except UnscorableRowsError as error:
            rows = np.delete(rows, list(error.rows))
        except SluiceError:
            break
        except Exception as error:  # noqa: BLE001  # reported as the configuration's outcome
            result.error = result.error or f"{type(error).__name__}: {error}"[:300]
            break
        else:
            answered[rows] = True
            break
    return scores, answered


def _difference(reference: Reference, wanted: NDArray[np.float64], got: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's difference, shape (n,): of probabilities, or relative to the largest prediction."""
    difference = np.abs(got - wanted)
    if not reference.classification:
        difference = difference / np.maximum(reference.scale, np.abs(wanted))
    return np.asarray(difference.max(axis=1))


def _differing(reference: Reference, wanted: NDArray[np.float64], got: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows are answered with numbers that are beyond the tolerance."""
    off: NDArray[np.bool_] = _difference(reference, wanted, got) > reference.problem.spec.parity_tolerance
    return off & np.isfinite(got).all(axis=1)


def _last_bits(
    reference: Reference,
    matrix: Matrix,
    got: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
    rows: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Return which of `rows` scikit-learn itself answers as we do: alone, in double, or moved by some last bits."""
    same = np.zeros(len(matrix), dtype=np.bool_)

    def try_again(tried: NDArray[np.intp], moved: NDArray[Any], at_once: bool) -> None:
        for part in [np.arange(len(tried))] if at_once else np.arange(len(tried))[:, None]:
            wanted, chosen = reference.proba(moved[part]), tried[part]
            fits = ~_differing(reference, wanted, got[chosen])
            if labels is not None:
                fits &= ~_other(labels[chosen], reference.predict(moved[part]))
            same[chosen] |= fits

    if len(rows) <= ALONE:
        try_again(rows, matrix[rows], at_once=False)
    if reference.repeatable or not len(rows):
        return same
    with contextlib.suppress(Exception):  # what takes single precision only is compared in single precision only
        try_again(rows, matrix[rows].astype(np.float64), at_once=True)
    random = np.random.default_rng(7)
    for turn in range(MOVES):
        rows = rows[~same[rows]]
        if len(rows):
            size = MOVED_BY[turn % len(MOVED_BY)]
            moves = random.choice([-size, size], size=(len(rows), matrix.shape[1])) * reference.numeric
            try_again(rows, (matrix[rows] * (1 + moves)).astype(np.float32), at_once=True)
    return same


def _margin(wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the difference between the two most probable classes, shape (n,)."""
    best = np.sort(wanted, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def _smooth_pairs(reference: Reference, wanted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the rows of `decision_boundary` at which the probabilities do not jump.

    The rows come in pairs of neighbouring numbers, first the one side of all, then the other. Where the probabilities
    are the same within the tolerance, the label is decided by their last bits, or by what scikit-learn computes beside.
    """
    low, high = wanted.reshape(2, -1, wanted.shape[1])
    return np.tile(np.abs(low - high).max(axis=1) <= reference.problem.spec.parity_tolerance, 2)


def _compare_scores(
    reference: Reference, wanted: NDArray[np.float64], got: NDArray[np.float64], result: KindResult
) -> None:
    finite = np.isfinite(got).all(axis=1)
    result.not_finite += int((~finite).sum())
    wanted, got = wanted[finite], got[finite]
    if not len(wanted):
        return
    if reference.classification:
        result.outside += int(((got < 0) | (got > 1)).any(axis=1).sum())
        own = np.abs(wanted.sum(axis=1) - 1) <= SUM_TOLERANCE  # of some estimators, scikit-learn's own sums are not 1
        result.sums += int((np.abs(got.sum(axis=1) - 1) > SUM_TOLERANCE)[own].sum())
    result.difference = max(result.difference, float(_difference(reference, wanted, got).max()))


def _labels(scorer: Scorer, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return class indices: what the scorer itself says, or the most probable class."""
    if not hasattr(scorer, "labels"):
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
    found = np.asarray(scorer.labels(scores))
    if found.dtype.kind in "iu":
        return found.astype(np.int64)
    code = {label: position for position, label in enumerate(scorer.signature.classes)}
    return np.array([code[label] for label in found.tolist()], dtype=np.int64)


def _compare_refused(scorer: Scorer, reference: Reference, matrix: Matrix, result: KindResult) -> None:
    """Compare row by row, some rows of a kind in which scikit-learn refuses a row."""
    for row in np.unique(np.linspace(0, len(matrix) - 1, min(ALONE, len(matrix))).astype(int)):
        one = matrix[row : row + 1]
        try:
            wanted = reference.proba(one)
        except Exception:  # noqa: BLE001  # any error of scikit-learn is its refusal
            wanted = np.full((1, 1), np.nan)
        got, (answered,) = _ask(scorer, one, result)
        accepted = np.isfinite(wanted).all()
        result.refused += int(accepted and not answered)
        result.answered += int(answered and not accepted)  # a number that is not finite is an answer, too
        if accepted and answered:
            _compare_scores(reference, wanted, got, result)


def compare_batches(scorer: Scorer, reference: Reference) -> KindResult:
    """Require the same bits from batches of each size as from all rows at once."""
    kinds = [matrix for kind, matrix in reference.kinds.items() if reference.answers[kind] is not None]
    result = KindResult()
    if not kinds:
        return result
    matrix = np.concatenate([each[:: max(1, len(each) * len(kinds) // 1000)] for each in kinds])
    together, answered = _ask(scorer, matrix, result)
    matrix, together = matrix[answered], together[answered]
    for size in BATCHES:
        few = matrix[:200] if size == 1 else matrix
        parts = [_ask(scorer, few[i : i + size], result)[0] for i in range(0, len(few), size)]
        apart = np.concatenate([np.empty((0, together.shape[1])), *parts])
        differ = (apart.view(np.int64) != together[: len(few)].view(np.int64)).any(axis=1)
        result.rows += len(few)
        result.bits += int(differ.sum())
    return result
