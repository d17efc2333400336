"""Why a fit failed: the step, the features that it is about, and the way out."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.errors import EstimatorError
from include.spec import ModelSpec
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
_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"members? in each class|n_splits=|least populated class|less than \d+ examples"), _FEW_OF_A_CLASS),
    (re.compile(r"Negative values in"), _NEGATIVE),
    (re.compile(r"strings? is only supported for|only for pandas DataFrames|can only be applied to pandas"), _NO_NAMES),
    (re.compile(r"of y (is|are) (out of|not)|loss.* requires|strictly positive y|non-negative y"), _RANGE_OF_TARGET),
)
_GENERAL = "Correct the estimator in spec.py; docs/reference/spec.md says what it is given."


def explain_failed_fit(
    spec: ModelSpec, estimator: Any, x: NDArray[np.float32], y: NDArray[Any], rows: str, error: Exception
) -> EstimatorError:
    """Return the error to raise when ``estimator.fit(x, y)`` raised `error`."""
    step = _failing_step(estimator, error)
    missing = np.isnan(x).sum(axis=0)
    empty = [f"{spec.features[at].name}" for at in np.flatnonzero(missing == len(x))]
    if empty:
        return EstimatorError(
            spec.name,
            step,
            f"cannot be trained on {rows}: {', '.join(empty[:MAX_LISTED])} is null in every one of them "
            f"({one_line(error)})",
            "Mend the column in features.sql, or remove the feature from spec.py.",
        )
    if missing.any() and _is_of_nulls(error):
        features = _null_features(spec, estimator, x, y)
        named = [f"{spec.features[at].name} ({missing[at]:,} of {len(x):,})" for at in features[:MAX_LISTED]]
        more = f" and {len(features) - MAX_LISTED} more" if len(features) > MAX_LISTED else ""
        return EstimatorError(
            spec.name,
            step,
            f"takes no nulls, and these features have them in {rows}: {', '.join(named)}{more}",
            "Impute them before that step (SimpleImputer), use an estimator that takes nulls such as "
            "HistGradientBoosting, or fill them in features.sql and declare nullable=False.",
        )
    advice = next((text for pattern, text in _ADVICE if pattern.search(str(error))), _GENERAL)
    return EstimatorError(spec.name, step, f"cannot be trained on {rows}: {one_line(error)}", advice)


def _is_of_nulls(error: Exception) -> bool:
    return bool(_MISSING.search(str(error)))


def _failing_step(estimator: Any, error: Exception) -> str:
    """Name the innermost declared part in whose methods the error was raised.

    Meta-estimators fit copies, so a part is recognised by its class; among several, by its parameters too.
    """
    parts = list(named_parts(estimator))
    for found in _objects_in(error):
        same = [(name, part) for name, part in parts if type(part) is type(found)]
        if same:
            return next((name for name, part in same if repr(part) == repr(found)), same[0][0])
    named = _NAMED_CLASS.search(str(error))  # a fit in another process leaves its text alone
    if named:
        same = [(name, part) for name, part in parts if type(part).__name__ == named[1]]
        if same:
            return same[-1][0]
    return parts[0][0]


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


def _null_features(spec: ModelSpec, estimator: Any, x: NDArray[np.float32], y: NDArray[Any]) -> list[int]:
    """Return the features whose nulls reach a step that takes none: not those that are imputed on their way.

    Each is tried alone, on a few rows with all other nulls filled. If none of them fails alone, or the time is over,
    every feature with nulls that is not known to be harmless is returned.
    """
    from sklearn.base import clone

    suspects = [int(at) for at in np.flatnonzero(np.isnan(x).any(axis=0))]
    rows = _sample(spec, x, y)
    filled = x[rows]
    filled = np.where(np.isnan(filled), np.float32(0), filled)
    started = time.monotonic()
    harmless = set()
    for at in suspects:
        if time.monotonic() - started > SECONDS_TO_SEARCH:
            break
        tried = filled.copy()
        tried[::2, at] = np.nan
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clone(estimator).fit(tried, y[rows])
        except Exception as error:  # noqa: BLE001  # an estimator may raise anything
            if not _is_of_nulls(error):
                harmless.add(at)
        else:
            harmless.add(at)
    return [at for at in suspects if at not in harmless] or suspects


def _sample(spec: ModelSpec, x: NDArray[np.float32], y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the positions of a few rows: of classes, some rows of each."""
    if spec.task == "regression":
        return np.linspace(0, len(x) - 1, min(len(x), SAMPLE_ROWS)).astype(np.intp)
    classes = np.unique(y)
    most = max(20, SAMPLE_ROWS // len(classes))
    return np.sort(np.concatenate([np.flatnonzero(y == label)[:most] for label in classes]))
