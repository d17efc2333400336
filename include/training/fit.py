"""Fitting: the declared estimator, and a simple baseline that it has to beat."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from include.errors import ArtifactError, EstimatorError, SluiceError
from include.progress import SILENT, Progress
from include.provenance import file_digest
from include.spec import ModelSpec
from include.training.column_names import resolve_columns
from include.training.data import TrainingData, evenly_spaced, require_target_precision
from include.training.estimator import build_estimator, last_step, require_probabilities
from include.training.fit_errors import explain_failed_fit
from include.training.fit_progress import tree_progress

BASELINE_ROWS = 50_000
# What a retry can mend: memory, the network, a worker that was stopped, a cluster of Dask or Ray.
_TRANSIENT = (OSError, MemoryError, BrokenExecutor)
_CLUSTERS = frozenset({"dask", "distributed", "ray"})


def fit(spec: ModelSpec, data: TrainingData, estimator: Any = None, progress: Progress = SILENT) -> Any:
    """Fit the declared estimator on the training rows.

    Parameters
    ----------
    estimator : estimator, optional
        What `build_estimator` returned; by default, it is built here.
    progress : Progress
        Told how many trees there are, where that can be seen.

    Raises
    ------
    EstimatorError
        When the estimator cannot be built, does not fit the task, or fails in its ``fit``.
    PrecisionError
        When it answers in single precision, and the target has more digits.
    """
    built = build_estimator(spec) if estimator is None else estimator
    resolved = resolve_columns(spec, built, data)
    with tree_progress(resolved, progress):
        fitted = fit_on(spec, resolved, data.x_train, data.y_train)
    require_predictions(spec, fitted)
    if spec.task == "regression" and np.asarray(fitted.predict(data.x_train[:2])).dtype == np.float32:
        step, _ = last_step(fitted)
        require_target_precision(spec, data.y_train, step)
    return fitted


def fit_on(
    spec: ModelSpec,
    estimator: Any,
    x: NDArray[np.float32],
    y: NDArray[Any],
    rows: str = "the training rows",
) -> Any:
    """Fit `estimator` on some rows; its own error becomes one that names the step, the features and the way out.

    Parameters
    ----------
    rows : str
        What the rows are, for the error.

    Raises
    ------
    EstimatorError
        When ``fit`` raises an error that the same rows would give again.
    """
    try:
        return estimator.fit(x, y)
    except (SluiceError, *_TRANSIENT):
        raise
    except Exception as error:  # an estimator may raise anything
        if type(error).__module__.partition(".")[0] in _CLUSTERS:
            raise
        raise explain_failed_fit(spec, estimator, x, y, rows, error) from error


def require_predictions(spec: ModelSpec, fitted: Any) -> None:
    """Require that a fitted estimator predicts: probabilities for classes, or values.

    Raises
    ------
    EstimatorError
        Naming the step that does not.
    """
    if spec.task != "regression":
        require_probabilities(spec, fitted)
    elif not hasattr(fitted, "predict"):
        step, _ = last_step(fitted)
        raise EstimatorError(
            spec.name, step, "predicts nothing: it has no predict", "End the pipeline with a regressor."
        )


def fit_baseline(spec: ModelSpec, data: TrainingData) -> Any:
    """Fit the baseline: a linear model on standardised numbers and one-hot categories.

    Logistic regression for classes, ridge regression for values, on at most 50,000 rows taken at
    even distances in time: a baseline that takes longer than the model would be no baseline.
    A feature that is null in every row counts as a constant.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = spec.columns
    encoded = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
            columns.numeric,
        ),
        (SimpleImputer(strategy="most_frequent", keep_empty_features=True), columns.boolean),
        (OneHotEncoder(handle_unknown="ignore"), columns.categorical),
    )
    rows = _baseline_rows(spec, data.y_train)
    model = Ridge() if spec.task == "regression" else LogisticRegression(max_iter=300)
    # In double precision: in single, a linear model would also be learned from a target in single precision.
    return make_pipeline(encoded, model).fit(data.x_train[rows].astype(np.float64), data.y_train[rows])


def _baseline_rows(spec: ModelSpec, y: NDArray[Any]) -> NDArray[np.intp]:
    """Return positions at even distances, and one row of each class, however rare it is."""
    even = evenly_spaced(len(y), BASELINE_ROWS)
    if spec.task == "regression" or len(even) == len(y):
        return even
    _, first = np.unique(y, return_index=True)
    return np.union1d(even, first)


def save_fitted(estimator: Any, path: Path) -> str:
    """Write an estimator with joblib, for people and for the next task, and return the file's SHA-256."""
    staged = path.with_suffix(".tmp")
    joblib.dump(estimator, staged, compress=3)
    staged.rename(path)
    return file_digest(path)


def load_fitted(path: Path, digest: str) -> Any:
    """Read an estimator that `save_fitted` wrote, once its digest is seen to be right.

    Raises
    ------
    ArtifactError
        When the file is not what was written: a joblib file can run code, so it is never opened then.
    """
    if file_digest(path) != digest:
        raise ArtifactError(
            f"{path}: expected SHA-256 {digest[:12]}…; found another. It was changed after it was fitted and is not "
            "opened: run the DAG again from its task `train`."
        )
    return joblib.load(path)
