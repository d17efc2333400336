"""Why a fit failed: the step, the features that it is about, and the way out."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.errors import EstimatorError
from include.spec import ModelSpec
from include.training.data import evenly_spaced
from include.training.estimator import named_parts, one_line

MAX_LISTED = 20
SAMPLE_ROWS = 200
SECONDS_TO_SEARCH = 30.0
_MISSING = re.compile(r"\bNaN\b|missing values", re.IGNORECASE)
_NAMED_CLASS = re.compile(r"(\w+) does not accept missing values")

# What scikit-learn's common sentences mean here.
_FEW_OF_A_CLASS = (
    "A class has too few training rows for this estimator's own split: lengthen `window.train` in spec.py, or set "
    "fewer folds (cv) or early_stopping=False."
)
_NEGATIVE = (
    "It takes no negative numbers, and a missing or unknown category is -1: scale with MinMaxScaler, or encode "
    "categories with OneHotEncoder."
)
_NO_NAMES = (
    "Its input has no column names: only a step that is given the features may name them. Use positions instead, "
    "such as columns.index(...)."
)
_RANGE_OF_TARGET = "This loss needs another range of the target: mend it in features.sql, or choose another loss."
_ONE_TARGET = "A model has one target: use the estimator without MultiOutput or MultiTask in its name."
_NO_ROWS_TO_STOP_BY = (
    "A retrain gives fit no rows to stop by: leave early stopping out, and choose the number of trees with "
    "GridSearchCV."
)
_XGBOOST_CODES = (
    "A missing or unknown category is -1, which XGBoost does not take for a category: put "
    "OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=float('nan')) before it, for these columns."
)
_CATBOOST_CODES = "The matrix holds floats: leave cat_features out, and encode categories with OneHotEncoder."
_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"members? in each class|n_splits=|least populated class|less than \d+ examples"), _FEW_OF_A_CLASS),
    (re.compile(r"Negative values in"), _NEGATIVE),
    (re.compile(r"for early stopping|For early stopping"), _NO_ROWS_TO_STOP_BY),
    (re.compile(r"Invalid categorical value"), _XGBOOST_CODES),
    (re.compile(r"'cat_features' parameter specifies"), _CATBOOST_CODES),
    (re.compile(r"strings? is only supported for|only for pandas DataFrames|can only be applied to pandas"), _NO_NAMES),
    (re.compile(r"multi-output|mono-task outputs"), _ONE_TARGET),
    (re.compile(r"of y (is|are) (out of|not)|loss.* requires|strictly positive y|non-negative y"), _RANGE_OF_TARGET),
)
_GENERAL = "Correct the estimator in spec.py; docs/reference/spec.md says what it is given."


def explain_failed_fit(
    spec: ModelSpec, estimator: Any, x: NDArray[np.float32], y: NDArray[Any], rows: str, error: Exception
) -> EstimatorError:
    """Return the error to raise when ``estimator.fit(x, y)`` raised `error`."""
    step = _failing_step(estimator, error)
    missing = np.isnan(x).sum(axis=0)
    empty = np.flatnonzero(missing == len(x))
    if len(empty) and _fails_for(spec, estimator, x, y, error, empty):
        named = _listed(spec.features[at].name for at in empty)
        found = f"cannot be trained on {rows}: {named} is null in every one of them ({one_line(error)})"
        advice = "Mend the column in features.sql, or remove the feature from spec.py."
        return EstimatorError(spec.name, step, found, advice)
    if missing.any() and _is_of_nulls(error):
        features = _null_features(spec, estimator, x, y)
        named = _listed(f"{spec.features[at].name} ({missing[at]:,} of {len(x):,})" for at in features)
        found = f"takes no nulls, and these features have them in {rows}: {named}"
        advice = (
            "Impute them before that step (SimpleImputer), use an estimator that takes nulls such as "
            "HistGradientBoosting, or fill them in features.sql and declare nullable=False."
        )
        return EstimatorError(spec.name, step, found, advice)
    advice = next((text for pattern, text in _ADVICE if pattern.search(str(error))), _GENERAL)
    return EstimatorError(spec.name, step, f"cannot be trained on {rows}: {one_line(error)}", advice)


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MAX_LISTED} more" if len(every) > MAX_LISTED else ""
    return ", ".join(every[:MAX_LISTED]) + more


def _is_of_nulls(error: Exception) -> bool:
    return bool(_MISSING.search(str(error)))


def _failing_step(estimator: Any, error: Exception) -> str:
    """Name the innermost declared part in whose methods the error was raised.

    Meta-estimators fit copies, so a part is recognised by its class; among several, by its parameters too.
    """
    parts = list(named_parts(estimator))
    named = _NAMED_CLASS.search(str(error))  # a fit in another process, or within a search, leaves its text alone
    for found in _objects_in(error):
        same = [(name, part) for name, part in parts if type(part) is type(found)]
        if same and (named is None or named[1] == type(found).__name__):
            return next((name for name, part in same if repr(part) == repr(found)), same[0][0])
    of_class = [name for name, part in parts if named is not None and type(part).__name__ == named[1]]
    return of_class[0] if of_class else parts[0][0]


def _objects_in(error: BaseException) -> Iterator[Any]:
    """Yield the objects whose methods the error came through, innermost first."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        found = frame.f_locals.get("self")
        if hasattr(found, "get_params"):
            yield found


def _fails_for(
    spec: ModelSpec,
    estimator: Any,
    x: NDArray[np.float32],
    y: NDArray[Any],
    error: Exception,
    empty: NDArray[np.intp],
) -> bool:
    """Return whether the error goes away when the features that are all null are filled, on a few rows."""
    rows = _sample(spec, x, y)
    filled = x[rows]
    filled[:, empty] = (np.arange(len(rows)) % 2)[:, None]
    again = _error_of(estimator, filled, y[rows])
    return again is None or one_line(again) != one_line(error)


def _null_features(spec: ModelSpec, estimator: Any, x: NDArray[np.float32], y: NDArray[Any]) -> list[int]:
    """Return the features whose nulls reach a step that takes none: not those that are imputed on their way.

    Each is tried alone, on a few rows with all other nulls filled. If none of them fails alone, or the time is over,
    every feature with nulls that is not known to be harmless is returned.
    """
    suspects = [int(at) for at in np.flatnonzero(np.isnan(x).any(axis=0))]
    rows = _sample(spec, x, y)
    filled = np.nan_to_num(x[rows])
    started = time.monotonic()
    harmless = set()
    for at in suspects:
        if time.monotonic() - started > SECONDS_TO_SEARCH:
            break
        tried = filled.copy()
        tried[::2, at] = np.nan
        found = _error_of(estimator, tried, y[rows])
        if found is None or not _is_of_nulls(found):
            harmless.add(at)
    return [at for at in suspects if at not in harmless] or suspects


def _error_of(estimator: Any, x: NDArray[np.float32], y: NDArray[Any]) -> Exception | None:
    """Return the error that a copy of the estimator raises when it is fitted, or None."""
    from sklearn.base import clone

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clone(estimator).fit(x, y)
    except Exception as error:  # noqa: BLE001  # an estimator may raise anything
        return error
    return None


def _sample(spec: ModelSpec, x: NDArray[np.float32], y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the positions of a few rows: of classes, some rows of each."""
    if spec.task == "regression":
        return evenly_spaced(len(x), SAMPLE_ROWS)
    classes = np.unique(y)
    most = max(20, SAMPLE_ROWS // len(classes))
    return np.sort(np.concatenate([np.flatnonzero(y == label)[:most] for label in classes]))
