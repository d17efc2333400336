"""What a sample of the rows tells: features that leak, and the estimator that predicts best on later rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection
from threadpoolctl import threadpool_limits

from include.evaluation.calibration import calibration_errors, predicted_and_observed
from include.evaluation.data_checks import univariate_strength
from include.evaluation.gates import evaluate_gate
from include.inference.batch import encode_batch
from include.inference.feature_types import feature_type
from include.inference.model_signature import ModelSignature
from include.onboarding.records import EstimatorKind, Roles
from include.records import DataChecks, Evaluation, Evidence
from include.spec import Feature, ModelSpec, NoLeakage

MAX_ROWS: Final = 15_000
MAX_CELLS: Final = 1_000_000
MAX_FOREST_ROWS: Final = 20_000
MIN_ROWS: Final = 40
_ARROW_TYPES: Final = {"numeric": pa.float64(), "categorical": pa.string(), "boolean": pa.bool_()}


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled rows in order of time, with the features as a matrix.

    Attributes
    ----------
    border : int
        The number of rows before the holdout.
    """

    features: tuple[Feature, ...]
    x: NDArray[np.float32]
    y: NDArray[Any]
    border: int

    def without(self, names: Sequence[str]) -> Sample:
        """Return the sample without these features."""
        kept = [position for position, feature in enumerate(self.features) if feature.name not in names]
        return Sample(tuple(self.features[each] for each in kept), self.x[:, kept], self.y, self.border)


@dataclass(frozen=True, slots=True)
class Trial:
    """The chosen estimator, and the mean loss of each that was tried, on later rows than it was fitted on.

    Attributes
    ----------
    losses : mapping of EstimatorKind to float
        Log loss of classes, mean squared error of values; empty if there were too few rows to try any.
    calibration_error : float or None
        Of the chosen one, on the newest of these rows.
    """

    kind: EstimatorKind
    losses: Mapping[EstimatorKind, float]
    calibration_error: float | None = None


def read_sample(connection: Connection, query: str, roles: Roles, border: datetime, rows: int) -> Sample:
    """Read about 15,000 labelled rows of a bound query, fewer if they are wide; the same ones each time.

    Parameters
    ----------
    rows : int
        The number of labelled rows that there are.
    """
    features = tuple(feature for feature, _ in roles.features)
    wanted = min(MAX_ROWS, max(1000, MAX_CELLS // len(features)))
    share = -(-rows // wanted)
    names = [f'"{feature.name}"::{feature.sql_type}' for feature in features]
    label = f'"{roles.target.name}"::{"text" if roles.classes else "float8"}'
    statement = (
        f'SELECT {", ".join(names)}, {label}, "{roles.time.name}" FROM (\n{query}\n) AS rows '  # noqa: S608 (our own query)
        f'WHERE "{roles.target.name}" IS NOT NULL AND abs(hashtext("{roles.key.column}"::text)::bigint) % {share} = 0 '
        f'ORDER BY "{roles.time.name}", "{roles.key.column}"::text COLLATE "C"'
    )
    found = connection.exec_driver_sql(statement, execution_options={"no_parameters": True}).all()
    columns = list(zip(*found, strict=True)) if found else [()] * (len(features) + 2)
    table = pa.table(
        {
            feature.name: pa.array(column, type=_ARROW_TYPES[feature.matrix_type])
            for feature, column in zip(features, columns, strict=False)
        }
    )
    learned = tuple(feature_type(feature).learn(table.column(feature.name)) for feature in features)
    signature = ModelSignature(
        model="sample",
        task=roles.task,
        entity_key=roles.key,
        event_time=roles.time.name,
        features=learned,
        classes=roles.classes,
    )
    codes = {label: code for code, label in enumerate(roles.classes)}
    labels, times = columns[-2:]
    y = np.array([codes[each] for each in labels] if roles.classes else labels, dtype=np.int64 if codes else np.float64)
    return Sample(features, encode_batch(table, signature), y, sum(time < border for time in times))


def leaking_features(sample: Sample, roles: Roles) -> dict[str, str]:
    """Return the features that the default gate `NoLeakage` would refuse, with its sentence."""
    parts = (slice(None, sample.border), slice(sample.border, None))
    training, holdout = ((sample.x[part], sample.y[part]) for part in parts)
    if not len(training[1]) or not len(holdout[1]):
        return {}
    names = [feature.name for feature in sample.features]
    found = {}
    for strength in univariate_strength(roles.task, names, training, holdout):
        checks = DataChecks(features=(strength.feature,), strengths=(strength,))
        evidence = Evidence(evaluation=Evaluation(model="sample", rows=1, candidate={}, baseline={}, data=checks))
        judgement = evaluate_gate(NoLeakage(), evidence)
        if not judgement.passed:
            found[strength.feature] = judgement.sentence
    return found


def choose_estimator(specs: Mapping[EstimatorKind, ModelSpec], sample: Sample, train_rows: int) -> Trial:
    """Compare the estimators on the third and on the newest quarter of the training rows, each fitted on all before.

    Two periods, since a target that drifts may favour one estimator in one of them. The holdout is not looked at: it is
    for the evaluation.
    """
    x, y = sample.x[: sample.border], sample.y[: sample.border]
    classes = next(iter(specs.values())).target.classes
    default: EstimatorKind = "boosting" if train_rows >= 1000 else "forest"
    folds = [(len(y) * quarters // 4, len(y) * (quarters + 1) // 4) for quarters in (2, 3)]
    if classes:
        folds = [(cut, end) for cut, end in folds if len(np.unique(y[:cut])) == len(classes)]
    if len(y) < MIN_ROWS or not folds:
        return Trial(default, {})
    losses: dict[EstimatorKind, float] = {}
    errors: dict[EstimatorKind, float] = {}
    for kind, spec in specs.items():
        if kind == "forest" and train_rows > MAX_FOREST_ROWS:
            continue
        found = []
        for cut, end in folds:
            predicted = _predictions(spec, (x[:cut], y[:cut]), x[cut:end])
            found.append(_loss(predicted, y[cut:end], classes))
            if classes:
                errors[kind] = calibration_errors(*predicted_and_observed(y[cut:end], predicted))[0]
        losses[kind] = float(np.mean(found))
    best = min(losses, key=losses.__getitem__)
    return Trial(best, losses, errors.get(best))


def _predictions(
    spec: ModelSpec, rows: tuple[NDArray[np.float32], NDArray[Any]], later: NDArray[np.float32]
) -> NDArray[np.float64]:
    # One thread: the sample is small, and threads that wait for each other on a busy machine take many times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # such as of a solver that stops early: it shows in the loss
        fitted = spec.estimator(spec.columns).fit(*rows)
        predicted = fitted.predict_proba(later) if spec.target.classes else fitted.predict(later)
    return np.asarray(predicted, dtype=np.float64)


def _loss(predicted: NDArray[np.float64], truth: NDArray[Any], classes: Sequence[str]) -> float:
    if not classes:
        return float(np.mean((predicted - truth) ** 2))
    of_truth = predicted[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(of_truth, 1e-15, 1)).mean())
