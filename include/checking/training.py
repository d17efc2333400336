"""The estimator tried on a sample: built, fitted, converted, compared with its graph; and what all rows would cost.

`EstimatorTrial` calls this in a process of its own.
"""

from __future__ import annotations

import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from math import log2
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.checking.places import Places
from include.checking.trial import TrialFit
from include.errors import (
    ConversionError,
    EstimatorError,
    Finding,
    NotEnoughDataError,
    PrecisionError,
    SluiceError,
    TargetError,
)
from include.inference.feature_types import feature_type
from include.records import Split
from include.spec import FeatureQuery, ModelSpec
from include.spec.gates import NoConstantFeature
from include.training import TrainingData, read_training_data, write_snapshot
from include.training.candidate import convert_candidate, divergence_error
from include.training.estimator import build_estimator
from include.training.fit import fit, fit_on

MAX_UNKNOWN_SHARE: Final = 0.05
# Of small fits, what does not depend on the rows is a large part: they seem to grow more slowly than they do.
_MIN_EXPONENT: Final = 0.7
_MAX_EXPONENT: Final = 2.0


def check_estimator(spec: ModelSpec, places: Places) -> list[Finding]:
    """Build the estimator, and compare it with the task; no row is needed."""
    try:
        build_estimator(spec)
    except EstimatorError as error:
        cause = error.__cause__
        lines = (
            []
            if cause is None
            else [
                each.lineno for each in traceback.extract_tb(cause.__traceback__) if each.filename.endswith("spec.py")
            ]
        )
        return [places.estimator(spec, error.subject, _sentence(spec, error), lines[-1] if lines else None)]
    except SluiceError as error:
        return [places.estimator(spec, "", _sentence(spec, error))]
    return []


def try_training(
    spec: ModelSpec, query: FeatureQuery, rows: pa.Table, split: Split, places: Places
) -> tuple[list[Finding], TrialFit]:
    """Fit, convert and compare the estimator on a sample of labelled rows.

    Raises
    ------
    NotEnoughDataError
        When the sample has too few rows, or lacks a class.
    """
    trial = _try(spec, query, rows, split)
    return [_finding(spec, places, *fault) for fault in trial.faults], trial


def _try(spec: ModelSpec, query: FeatureQuery, rows: pa.Table, split: Split) -> TrialFit:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            snapshot = write_snapshot(rows.to_batches(), spec, split, Path(folder), query)
            data = read_training_data(spec, snapshot)
        except (PrecisionError, TargetError) as error:
            column = error.column if isinstance(error, PrecisionError) else error.target
            return TrialFit((("column", column or "", _sentence(spec, error)),))
        except NotEnoughDataError as error:
            if error.column in (None, spec.target.column):
                raise
            return TrialFit((("column", error.column or "", _sentence(spec, error)),))
        seen = tuple(_about_the_rows(spec, data))
        try:
            exponent = _exponent(spec, data)
            started = time.monotonic()
            fitted = fit(spec, data)
            seconds = time.monotonic() - started
            converted = convert_candidate(spec, fitted, data, 0.5 if spec.decision_threshold else None)
            if not converted.parity.passed:
                raise divergence_error(spec, fitted, data, converted.parity)
        except (EstimatorError, ConversionError) as error:
            step = error.subject if isinstance(error, EstimatorError) else error.step
            return TrialFit((*seen, ("estimator", step, _sentence(spec, error))))
        except PrecisionError as error:
            return TrialFit((*seen, ("column", error.column or "", _sentence(spec, error))))
        return TrialFit(seen, len(data.y_train), seconds, exponent)


def _about_the_rows(spec: ModelSpec, data: TrainingData) -> Iterator[tuple[str, str, str]]:
    """Yield warnings about features that the model can learn nothing of."""
    for position, feature in enumerate(data.signature.features):
        column, known = data.x_holdout[:, position], data.holdout.column(feature.name).is_valid()
        missing = feature_type(feature).missing_code
        unknown = int(((column == missing) & known.to_numpy()).sum())
        given = int(pc.sum(known).as_py() or 0)
        if unknown > MAX_UNKNOWN_SHARE * given:
            sentence = (
                f"expected values of the holdout that the training rows have, too; found unknown ones in {unknown:,} "
                f"of {given:,} sampled rows. The model treats them as missing: compare case and spaces."
            )
            yield "warning", feature.name, sentence
        parts = {"training": data.x_train[:, position], "holdout": column}
        same = [name for name, part in parts.items() if len(part) and len(np.unique(part)) == 1]
        allowed = {name for gate in spec.policy if isinstance(gate, NoConstantFeature) for name in gate.allowed}
        if same and feature.name not in allowed:
            sentence = (
                f"expected more than one value; found the same in all sampled rows of the {' and '.join(same)}. The "
                "model learns nothing of it, and the gate no_constant_feature rejects it"
            )
            yield "warning", feature.name, sentence


def _exponent(spec: ModelSpec, data: TrainingData) -> float:
    """Return how the time of a fit grows with the rows: 1 is in proportion. Two small fits are compared."""
    half = len(data.y_train) // 2
    if spec.target.classes and len(np.unique(data.y_train[:half])) < len(spec.target.classes):
        return 1.0
    seconds = [_seconds_of_fit(spec, data, rows) for rows in (half // 2, half)]
    return float(np.clip(log2(max(seconds[1], 1e-3) / max(seconds[0], 1e-3)), _MIN_EXPONENT, _MAX_EXPONENT))


def _seconds_of_fit(spec: ModelSpec, data: TrainingData, rows: int) -> float:
    estimator: Any = build_estimator(spec)
    started = time.monotonic()
    try:
        fit_on(spec, estimator, data.x_train[:rows], data.y_train[:rows])
    except SluiceError:
        return 1e-3  # too few rows for this estimator; the whole sample decides
    return time.monotonic() - started


def _finding(spec: ModelSpec, places: Places, kind: str, subject: str, sentence: str) -> Finding:
    if kind == "estimator":
        return places.estimator(spec, subject, sentence)
    severity = "warning" if kind == "warning" else "error"
    return places.column(spec, subject or spec.target.column, sentence, severity=severity)  # type: ignore[arg-type]


def _sentence(spec: ModelSpec, error: SluiceError) -> str:
    """Return the message without the model's name, and without what only a real training may say."""
    text = str(error).removeprefix(f"model '{spec.name}': ")
    return text.replace(" Nothing was trained; the champion stays.", "")
