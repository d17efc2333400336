"""Small real models, exported as training exports them: one float32 matrix in, scores out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from include.inference import ModelSignature, Scorer
from include.spec import EntityKey, Numeric

IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def exported(estimator: Any, matrix: np.ndarray) -> bytes:
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    return to_onnx(estimator, matrix[:1], options=options).SerializeToString()


def sign(**changes: Any) -> ModelSignature:
    fields: dict[str, Any] = {
        "model": "iris",
        "task": "multiclass",
        "entity_key": EntityKey(column="flower", type="bigint"),
        "event_time": "measured_at",
        "features": tuple(Numeric(name=name, unit="cm", minimum=0, maximum=100) for name in IRIS),
        "classes": ("setosa", "versicolor", "virginica"),
    }
    return ModelSignature(**(fields | changes))


@pytest.fixture(scope="session")
def iris_signature() -> Callable[..., ModelSignature]:
    return sign


@pytest.fixture(scope="session")
def export() -> Callable[[Any, np.ndarray], bytes]:
    return exported


@pytest.fixture(scope="session")
def iris() -> np.ndarray:
    return load_iris(return_X_y=True)[0].astype(np.float32)


@pytest.fixture(scope="session")
def forest(iris: np.ndarray) -> bytes:
    labels = load_iris(return_X_y=True)[1]
    return exported(RandomForestClassifier(20, random_state=0).fit(iris, labels), iris)


@pytest.fixture(scope="session")
def linear_classifier(iris: np.ndarray) -> Scorer:
    labels = load_iris(return_X_y=True)[1]
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(iris, labels)
    return Scorer(exported(estimator, iris), sign(single_row_exact=False))


@pytest.fixture(scope="session")
def regression() -> Scorer:
    matrix, target = load_diabetes(return_X_y=True)
    matrix = matrix.astype(np.float32)
    features = tuple(Numeric(name=f"f{i}", unit="1", minimum=-1, maximum=1) for i in range(matrix.shape[1]))
    signature = sign(model="sugar", task="regression", classes=(), features=features, single_row_exact=False)
    return Scorer(exported(LinearRegression().fit(matrix, target), matrix), signature)
