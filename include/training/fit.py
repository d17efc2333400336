"""Fitting: the declared estimator, and a simple baseline that it has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np

from include.errors import ArtifactError
from include.provenance import file_digest
from include.spec import ModelSpec
from include.training.data import TrainingData

BASELINE_ROWS = 50_000


def fit(spec: ModelSpec, data: TrainingData) -> Any:
    """Build the declared estimator, seed whatever is random in it, and fit it on the training rows."""
    estimator = spec.estimator(spec.columns)
    unseeded = {
        name: spec.seed
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    return estimator.set_params(**unseeded).fit(data.x_train, data.y_train)


def fit_baseline(spec: ModelSpec, data: TrainingData) -> Any:
    """Fit the baseline: a linear model on standardised numbers and one-hot categories.

    Logistic regression for classes, ridge regression for values, on at most 50,000 rows taken at
    even distances in time: a baseline that takes longer than the model would be no baseline.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = spec.columns
    encoded = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), columns.numeric),
        (SimpleImputer(strategy="most_frequent"), columns.boolean),
        (OneHotEncoder(handle_unknown="ignore"), columns.categorical),
    )
    rows = np.linspace(0, len(data.x_train) - 1, min(len(data.x_train), BASELINE_ROWS)).astype(int)
    model = Ridge() if spec.task == "regression" else LogisticRegression(max_iter=300)
    return make_pipeline(encoded, model).fit(data.x_train[rows], data.y_train[rows])


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
